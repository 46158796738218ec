"""Disks that are full or become read-only under a run: real ones, in a namespace of their own."""

import re
import shutil
import subprocess
from functools import partial
from pathlib import Path
from typing import Self

import pytest

from ablab.runs.checkpoints import Manifest
from ablab.runs.record import RunRecord
from tests.checks import assert_same_run
from tests.launch import TINY, enter_namespaces, launch, train

_UNSHARE = ["unshare", "--user", "--map-root-user", "--mount"]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        shutil.which("unshare") is None
        or subprocess.run([*_UNSHARE, "true"], capture_output=True).returncode != 0,
        reason="needs Linux with user namespaces, to mount a disk without being root",
    ),
]
RECIPE = [*TINY, "checkpoints.every_n_steps=5", "steps_per_execution=5"]
FAULTS = {
    "full": ("head --bytes 100M /dev/zero > DISK/ballast || true", "rm DISK/ballast"),
    "read_only": ("mount -o remount,ro DISK", "mount -o remount,rw DISK"),
}


class Disk:
    """A disk of 4 MiB for a ``with``; only processes in its namespaces see it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()

    def __enter__(self) -> Self:
        script = f"mount -t tmpfs -o size=4m none {self.path} && echo mounted && exec cat"
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._keeper = subprocess.Popen([*_UNSHARE, "sh", "-c", script], **pipes, text=True)
        assert self._keeper.stdout is not None
        assert self._keeper.stdout.readline() == "mounted\n"
        return self

    def __exit__(self, *_: object) -> None:
        self._keeper.communicate()  # It ends with its input, and the disk with it.

    def shell(self, command: str) -> None:
        there = ["nsenter", f"--target={self._keeper.pid}", "--user", "--mount"]
        script = ["sh", "-c", command.replace("DISK", str(self.path))]
        subprocess.run([*there, "--preserve-credentials", *script], check=True)

    def train(self, *overrides: str) -> subprocess.CompletedProcess[str]:
        cwd = self.path.parent
        entering = partial(enter_namespaces, self._keeper.pid, cwd)
        words = [word.replace("DISK", str(self.path)) for word in overrides]
        return train(*words, cwd=cwd, first=entering)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    launch(RECIPE, folder)
    return folder


@pytest.mark.parametrize("fault", FAULTS)
def test_a_disk_that_fails_under_a_run(undisturbed: Path, tmp_path: Path, fault: str) -> None:
    """What was written stands, and when the disk is mended the run goes on from there."""
    breaks, mends = FAULTS[fault]
    callback = ["callbacks.fault._target_=toy.callbacks.ShellAt", "callbacks.fault.step=42"]
    callback += [f"callbacks.fault.command='[ -e once ] || (touch once; {breaks})'"]
    with Disk(tmp_path / "disk") as disk:
        failed = disk.train(*RECIPE, *callback, "hydra.run.dir=DISK/run")
        disk.shell(mends)
        disk.shell(f"cp -r DISK/run {tmp_path}/found")
        went_on = disk.train("task=fit", "run=DISK/run")
        disk.shell(f"cp -r DISK/run {tmp_path}/ended")
    assert failed.returncode == 2
    assert "Traceback" not in failed.stderr
    assert re.search(r"run\.json: cannot be written \((No space|Read-only)", failed.stdout)
    assert "step=00000046.ckpt: the checkpoint cannot be written" in failed.stderr.splitlines()[-1]
    assert Manifest(tmp_path / "found" / "checkpoints").entries()[-1].step == 41  # not 46
    assert RunRecord.read(tmp_path / "found").status == "running"
    assert went_on.returncode == 0, went_on.stderr
    assert_same_run(undisturbed, tmp_path / "ended")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_disk_that_is_so_from_the_start(tmp_path: Path, fault: str) -> None:
    """It is told before anything is trained."""
    with Disk(tmp_path / "disk") as disk:
        disk.shell(FAULTS[fault][0])
        made = disk.train(*RECIPE, "hydra.run.dir=DISK/run")
    assert made.returncode == 2
    assert made.stderr.splitlines()[-1].startswith("error: ")
    assert "paths.runs=…" in made.stderr
    assert "Traceback" not in made.stderr
    assert "epoch" not in made.stdout
