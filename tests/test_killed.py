"""A run in phases is killed (SIGKILL) again and again, and ends as if nothing had been."""

import random
import subprocess
import time
from pathlib import Path

import pytest
import torch

from lab.record import RunRecord
from tests.forked import Process
from tests.launch import launch, start, wait_for
from tests.test_phases import DIGITS, state_at

STEPS = 450  # long enough to be hit: two phases of 150 and 300 steps
LONG = [
    *DIGITS,
    "phases.head.epochs=30",
    "phases.all.epochs=60",
    "checkpoints.every_n_steps=3",
    "checkpoints.keep=2",
]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_killed_at_random_moments(tmp_path: Path) -> None:
    launch(LONG, tmp_path / "whole")
    moments = random.Random(0)
    runs = tmp_path / "runs" / "default"
    arguments, kills = LONG, 0
    while True:
        with start(*arguments, cwd=tmp_path) as process:
            wait_for(lambda: list(runs.glob("*/run.json")))
            (folder,) = runs.iterdir()
            try:
                wait_for_a_checkpoint(folder, process)
                process.wait(moments.uniform(0.05, 0.6))
            except subprocess.TimeoutExpired:
                process.kill()
                kills += 1
        if RunRecord.read(folder).status == "done":
            break
        arguments = ["task=fit", f"run={folder}"]
    assert kills >= 4
    whole, killed = state_at(tmp_path / "whole", STEPS), state_at(folder, STEPS)
    assert all(torch.equal(killed[name], value) for name, value in whole.items())
    assert (folder / "metrics.csv").read_text() == (tmp_path / "whole" / "metrics.csv").read_text()
    assert RunRecord.read(folder).metrics == RunRecord.read(tmp_path / "whole").metrics


def wait_for_a_checkpoint(folder: Path, process: Process) -> None:
    """Until the process has written one, or has ended."""
    manifest = folder / "checkpoints" / "manifest.json"
    before = manifest.stat().st_mtime_ns if manifest.exists() else 0
    while process.poll() is None:
        if manifest.exists() and manifest.stat().st_mtime_ns != before:
            return
        time.sleep(0.02)
