"""Signals: remembered while a step is under way, raised at once otherwise."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lab.interruption import Interruption, RunInterrupted
from lab.record import RunRecord
from tests.launch import ROOT, TINY, environment, wait_for


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 138)]
)
def test_raises_at_once_outside_a_fit(number: int, code: int) -> None:
    with pytest.raises(RunInterrupted) as caught, Interruption():
        os.kill(os.getpid(), number)
    assert caught.value.exit_code == code


def test_a_deferred_signal_waits_and_a_second_one_does_not() -> None:
    with Interruption() as interruption:
        interruption.deferred = True
        interruption.raise_if_requested()
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(RunInterrupted):
            interruption.raise_if_requested()
        with pytest.raises(RunInterrupted):
            os.kill(os.getpid(), signal.SIGTERM)


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with Interruption():
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_what_is_to_be_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        with Interruption() as interruption:
            os.kill(os.getpid(), signal.SIGUSR1)
            interruption.raise_if_requested()
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.slow
def test_a_slurm_job_whose_time_is_up_is_requeued_and_goes_on(tmp_path: Path) -> None:
    """The script of the docs, with stand-ins for SLURM's commands."""
    commands = tmp_path / "commands"
    commands.mkdir()
    for name, does in {
        "srun": 'exec "$@"',
        "scontrol": f'echo "$@" >> {tmp_path}/told',
        "python": f'shift; exec {sys.executable} {ROOT / "train.py"} "$@"',
    }.items():
        (commands / name).write_text(f"#!/bin/sh\n{does}\n")
        (commands / name).chmod(0o755)
    path = f"{commands}{os.pathsep}{os.environ['PATH']}"
    told = [str(ROOT / "docs" / "slurm_job.sh"), *TINY, "trainer.max_epochs=40"]
    folder = tmp_path / "runs" / "slurm" / "17"

    def submitted() -> subprocess.Popen[str]:
        given = environment(PATH=path, SLURM_JOB_ID="17")
        return subprocess.Popen(
            told,
            cwd=tmp_path,
            env=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    with submitted() as job:
        wait_for((folder / "checkpoints" / "manifest.json").exists)
        os.kill(RunRecord.read(folder).process["pid"], signal.SIGUSR1)
        output, _ = job.communicate(timeout=60)
    assert job.returncode == 138, output
    assert (tmp_path / "told").read_text() == "requeue 17\n"
    assert RunRecord.read(folder).status == "interrupted"
    with submitted() as job:
        output, _ = job.communicate(timeout=90)
    assert job.returncode == 0, output
    assert f"continuing {folder.relative_to(tmp_path)} at step" in output
    assert RunRecord.read(folder).status == "done"
    assert (tmp_path / "told").read_text() == "requeue 17\n"
