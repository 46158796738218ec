"""Runs of two and three processes (DDP on CPUs, gloo), with each kind of data and model."""

import signal
import socket
import subprocess
from functools import partial
from pathlib import Path

import pytest
import torch
from lightning.pytorch.utilities import rank_zero_only

from ablab.runs.record import RunRecord
from tests.checks import assert_same_run, learned
from tests.forked import Process
from tests.launch import environment, launch, train

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # two cores may have other work
BASE = ["trainer.accelerator=cpu", "trainer.max_epochs=2", "trainer.log_every_n_steps=1"]
BASE += ["logger=csv", "threads=1", "checkpoints.every_n_steps=2"]
NET = ["data=samples", "model=net", "objective=classification"]
RULES = [*NET, "optim.rules=[{match: {ndim: 2}, optimizer: {_target_: torch.optim.Muon}}]"]
STREAM = [*NET, "data.train._target_=toy.samples.StatefulStream"]
LOGGED = ["data=samples", "objective=logged", "objective.mode=min"]
PLAIN = [*LOGGED, "model=classifier", "model.dropout=0.0", "objective.metric=val_loss"]
PLAIN += ["test=false"]
GAN = [*LOGGED, "model=gan", "objective.metric=val/distance"]
OWN = ["data=own_loaders", "model=net", "objective=classification"]
SHARED = "trainer.strategy.find_unused_parameters=true"


def start(n: int, *overrides: str, cwd: Path) -> list[Process]:
    """Start the processes of one run as a launcher does, forked from one that has torch."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        variables = {"WORLD_SIZE": str(n), "NODE_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
        variables["MASTER_PORT"] = str(probe.getsockname()[1])
    cwd.mkdir(exist_ok=True)
    started = []
    for rank in range(n):
        given = environment(**variables, LOCAL_RANK=str(rank))
        started.append(Process(overrides, cwd, given, partial(_take_rank, rank)))
    return started


def together(n: int, *overrides: str, cwd: Path) -> list[subprocess.CompletedProcess[str]]:
    """Run the processes of one run to their ends."""
    return ends(start(n, *overrides, cwd=cwd))


def ends(processes: list[Process]) -> list[subprocess.CompletedProcess[str]]:
    ended = []
    try:
        for process in processes:
            output = process.communicate(200)
            ended.append(subprocess.CompletedProcess([], process.returncode or 0, *output))
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
            process.__exit__()
    return ended


def _take_rank(rank: int) -> None:
    """Do what Lightning's imports do, which a forked process has behind it."""
    rank_zero_only.rank = rank


def ddp(n: int, *overrides: str) -> list[str]:
    return [*BASE, *overrides, "trainer=ddp", f"trainer.devices={n}", "hydra.run.dir=run"]


def trained(n: int, *overrides: str, cwd: Path) -> Path:
    """Return the folder of a run of ``n`` processes that has ended well."""
    ended = together(n, *ddp(n, *overrides), cwd=cwd)
    assert [each.returncode for each in ended] == [0] * n, [each.stderr for each in ended]
    return cwd / "run"


@pytest.mark.parametrize(
    ("n", "overrides"),
    [(2, RULES), (3, STREAM), (3, PLAIN)],
    ids=["2 with rules", "3 on a stream", "3 with steps of its own"],
)
def test_several_processes_learn_what_one_does_with_their_batches_together(
    n: int, overrides: list[str], tmp_path: Path
) -> None:
    shared = trained(n, *overrides, "loading.batch_size=32", cwd=tmp_path / "together")
    launch([*BASE, *overrides, f"loading.batch_size={32 * n}"], tmp_path / "alone")
    torch.testing.assert_close(learned(shared), learned(tmp_path / "alone"))
    ours, theirs = RunRecord.read(shared), RunRecord.read(tmp_path / "alone")
    assert (ours.device, ours.steps) == (f"cpu x {n}", theirs.steps)
    for name, metrics in theirs.metrics.items():
        assert ours.metrics[name] == pytest.approx(metrics, rel=1e-5)


def test_rows_of_ones_own_loader_are_shared_out(tmp_path: Path) -> None:
    folder = trained(2, *OWN, cwd=tmp_path)
    assert RunRecord.read(folder).steps == 2 * 7  # batches of 8, of 50 of the 100 rows
    alone = train("task=fit", "run=run", "trainer.devices=1", cwd=tmp_path)
    assert alone.returncode == 2
    assert "leave out trainer.devices=1 (the run has 2)" in alone.stderr


@pytest.mark.parametrize(
    ("overrides", "step"),
    [(RULES, 5), ([*GAN, SHARED], 4), (PLAIN, 5)],
    ids=["with rules", "a GAN", "with steps of its own"],
)
def test_a_run_of_two_that_was_stopped_goes_on_with_two(
    overrides: list[str], step: int, tmp_path: Path
) -> None:
    whole = trained(2, *overrides, cwd=tmp_path / "whole")
    stop = {"_target_": "toy.callbacks.SignalAt", "step": step, "rank": 0}
    stop |= {"number": int(signal.SIGKILL), "flag": tmp_path / "killed"}
    stopped = [f"callbacks.stop.{key}={value}" for key, value in stop.items()]
    again = tmp_path / "again"
    ended = together(2, *ddp(2, *overrides, *stopped), cwd=again)
    assert all(each.returncode for each in ended)
    ended = together(2, "task=fit", "run=run", cwd=again)
    assert [each.returncode for each in ended] == [0, 0], [each.stderr for each in ended]
    assert_same_run(whole, again / "run")


def test_a_loss_that_does_not_use_all_parameters_is_told_in_a_line(tmp_path: Path) -> None:
    first, second = together(2, *ddp(2, *GAN), cwd=tmp_path)
    assert (first.returncode, second.returncode) == (2, 2)
    assert first.stderr.startswith("error: trainer.strategy: a loss of this model")
    assert SHARED in first.stderr
    assert second.stderr == ""


@pytest.mark.parametrize("silent", [0, 1])
def test_a_process_that_stands_still_ends_the_run(silent: int, tmp_path: Path) -> None:
    """The other one says so and fails, on which a launcher ends them all."""
    stop = {"_target_": "toy.callbacks.SignalAt", "step": 3, "rank": silent}
    stop |= {"number": int(signal.SIGSTOP)}
    settings = [f"callbacks.stop.{key}={value}" for key, value in stop.items()]
    processes = start(2, *ddp(2, *NET, "trainer.strategy.timeout_s=10", *settings), cwd=tmp_path)
    try:
        (other,) = ends([processes[1 - silent]])
    finally:
        processes[silent].kill()
        processes[silent].__exit__()
    assert other.returncode == 1
    assert other.stderr.startswith(
        "error: another process of this run did not answer within trainer.strategy.timeout_s"
    )
    if silent:
        error = RunRecord.read(tmp_path / "run").error
        assert error is not None
        assert error["type"] == "SilentRankError"
