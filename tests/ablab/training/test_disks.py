"""Disks that are full or become read-only under a run: real ones, in a namespace of their own."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from ablab.runs.checkpoints import Manifest
from ablab.runs.record import RunRecord
from tests.checks import assert_same_run
from tests.launch import TINY, command, environment, launch

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
    "full": ("head --bytes 100M /dev/zero > DISK/ballast", "rm DISK/ballast"),
    "read_only": ("mount -o remount,ro DISK", "mount -o remount,rw DISK"),
}
SPACE = 4  # MiB


def on_a_disk(disk: Path, *commands: str) -> subprocess.CompletedProcess[str]:
    """Runs a script on a disk that is there for as long as it runs."""
    disk.mkdir()
    script = [f"mount -t tmpfs -o size={SPACE}m none DISK", *commands]
    return subprocess.run(
        [*_UNSHARE, "bash", "-c", "\n".join(script).replace("DISK", str(disk))],
        cwd=disk.parent,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=200,
    )


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
    first = [*RECIPE, *callback, "hydra.run.dir=DISK/run"]
    made = on_a_disk(
        tmp_path / "disk",
        f"{shlex.join(command(*first))}; echo exit status $?",
        mends,
        "cp -r DISK/run found",
        f"{shlex.join(command('task=fit', 'run=DISK/run'))} && cp -r DISK/run ended",
    )
    assert made.returncode == 0, made.stderr
    assert "exit status 2" in made.stdout, made.stderr
    assert "Traceback" not in made.stderr
    assert re.search(r"run\.json: cannot be written \((No space|Read-only)", made.stdout)
    assert "step=00000046.ckpt: the checkpoint cannot be written" in made.stderr.splitlines()[-1]
    assert Manifest(tmp_path / "found" / "checkpoints").entries()[-1].step == 41  # not 46
    assert RunRecord.read(tmp_path / "found").status == "running"
    assert_same_run(undisturbed, tmp_path / "ended")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_disk_that_is_so_from_the_start(tmp_path: Path, fault: str) -> None:
    """It is told before anything is trained."""
    first = shlex.join(command(*RECIPE, "hydra.run.dir=DISK/run"))
    made = on_a_disk(tmp_path / "disk", FAULTS[fault][0], f"{first}; echo exit status $?")
    assert "exit status 2" in made.stdout, made.stderr
    assert made.stderr.splitlines()[-1].startswith("error: ")
    assert "paths.runs=…" in made.stderr
    assert "Traceback" not in made.stderr
    assert "epoch" not in made.stdout
