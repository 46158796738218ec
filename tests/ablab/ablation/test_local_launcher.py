"""``hydra/launcher=local`` as a user meets it: real runs, real signals."""

import json
import signal
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ablab.safety.folder_lock import is_locked
from tests.launch import TINY, command, environment, train, wait_for

pytestmark = pytest.mark.timeout(300)  # two cores may have other work
WARM = pytest.mark.usefixtures("warm_starts")
LOCAL = ["-m", *TINY, "hydra/launcher=local", "hydra.launcher.jobs_at_a_time=2"]
AGAIN = "hydra.sweep.dir=runs/again"  # so that the same command comes to the same folder
DDP = ["trainer=ddp", "trainer.accelerator=cpu"]
# An epoch of 26 steps, in some 16 seconds until the file `go` is there.
SLOW = ["trainer.max_epochs=1", "checkpoints.every_n_steps=2", "callbacks.slow.until=go"]
SLOW = [*SLOW, "callbacks.slow._target_=toy.callbacks.Slow", "callbacks.slow.seconds=0.6"]


def records(runs: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(runs.rglob("run.json"))]


def start(*overrides: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*overrides),
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(),
    )


def all_have_checkpoints(runs: Path, number: int) -> bool:
    return len(list(runs.rglob("manifest.json"))) == number


@WARM
@pytest.mark.slow
def test_a_killed_job_stops_no_other_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = ["callbacks.stop._target_=toy.callbacks.SignalAt", "callbacks.stop.step=30"]
    done = train(*LOCAL, *stop, "callbacks.stop.number=9,0", "test=false", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    statuses = {r["config"]["callbacks"]["stop"]["number"]: r["status"] for r in records(tmp_path)}
    assert statuses == {9: "running", 0: "done"}  # nobody could write the record of the killed one
    told = done.stdout.splitlines()
    assert sum("[2/2]" in line for line in told) == 1
    (line,) = [line for line in told if line.startswith("  callbacks.stop.number=9")]
    assert line.endswith("interrupted, ended by SIGKILL")
    assert "Traceback" not in done.stdout + done.stderr


def test_more_gpus_than_there_are_is_an_error_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    done = train(*LOCAL, "trainer.accelerator=gpu", "trainer.devices=1,3", cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: trainer.devices: 3 GPUs are asked for, and there are 2")
    assert {r["status"] for r in records(tmp_path)} == {"planned"}
    assert not list(tmp_path.rglob("run.log"))


@WARM
@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["local", "serial"])
def test_ddp_in_a_sweep_beside_jobs_of_one_process(
    launcher: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where an earlier launcher has left its ranks in the environment."""
    for name, value in {"LOCAL_RANK": "1", "RANK": "1", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    jobs = ["trainer.devices=2,1", "trainer.max_epochs=1"]  # the ranks of one, then one without
    with start("-m", *TINY, *DDP, f"hydra/launcher={launcher}", *jobs, cwd=tmp_path) as process:
        output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output
    ended = records(tmp_path)
    assert Counter((r["status"], r["device"]) for r in ended) == {
        ("done", "cpu x 1"): 1,
        ("done", "cpu x 2"): 1,
    }
    assert len(list(tmp_path.rglob("metrics.csv"))) == 2  # no rank has gone elsewhere
    for record in ended:
        assert "-m" not in record["process"]["command"] or launcher == "serial"


@WARM
@pytest.mark.slow
def test_a_sweep_told_to_stop_lets_its_jobs_write_checkpoints_and_goes_on(tmp_path: Path) -> None:
    """By SIGINT, which reaches the jobs as SIGTERM; test_sweep.py has both signals to a sweep."""
    arguments = [*LOCAL, *SLOW, "seed=0,1,2", AGAIN]
    with start(*arguments, cwd=tmp_path) as process:
        wait_for(lambda: all_have_checkpoints(tmp_path, 2))
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGINT, output
    assert "stopping 2 jobs" in output
    stopped = records(tmp_path)
    assert Counter(r["status"] for r in stopped) == {"interrupted": 2, "planned": 1}
    assert {r["exit_code"] for r in stopped} == {None, 128 + signal.SIGTERM}
    (tmp_path / "go").touch()
    done = train(*arguments, cwd=tmp_path, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert Counter(len(r["continued"]) for r in records(tmp_path)) == {1: 2, 0: 1}


@WARM
@pytest.mark.slow
def test_told_twice_a_sweep_stops_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck = [
        "callbacks.stuck._target_=toy.callbacks.StuckAt",
        "callbacks.stuck.step=3",
        f"callbacks.stuck.flag={tmp_path}/stuck",
    ]
    with start(*LOCAL, *stuck, cwd=tmp_path) as process:
        wait_for((tmp_path / "stuck").exists)
        process.terminate()
        assert process.stdout is not None
        while "stopping 1 jobs" not in process.stdout.readline():
            pass
        process.terminate()
        process.wait(timeout=10)
    assert process.returncode == 143
    (record,) = records(tmp_path)
    (folder,) = [path.parent for path in tmp_path.rglob("run.json")]
    assert record["status"] == "running"
    wait_for(lambda: not is_locked(folder), timeout=5)  # a process that is killed takes a moment


@WARM
@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
def test_a_killed_sweep_leaves_no_job_behind_and_is_continued(devices: int, tmp_path: Path) -> None:
    arguments = [*LOCAL, *DDP, *SLOW, f"trainer.devices={devices}", AGAIN]
    seeds = "seed=0,1" if devices == 1 else "seed=0"
    with start(*arguments, seeds, cwd=tmp_path) as process:
        wait_for(lambda: all_have_checkpoints(tmp_path, seeds.count(",") + 1))
        process.kill()
    (tmp_path / "go").touch()
    # At once: the jobs may still be writing.
    done = train(*arguments, seeds, cwd=tmp_path, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {r["status"] for r in records(tmp_path)} == {"done"}
    assert {len(r["continued"]) for r in records(tmp_path)} == {1}
