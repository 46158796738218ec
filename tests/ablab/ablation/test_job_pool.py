"""Places and GPUs handed out to jobs; these are small scripts, started as jobs are."""

import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hydra.core.utils import JobStatus

from ablab import project
from ablab.ablation.launch.job_lines import JobLines
from ablab.ablation.launch.job_pool import JobPool
from ablab.errors import ConfigError
from ablab.runs.record import RunRecord
from ablab.safety.signals import RunInterrupted

TOLD = """
import os, pathlib, time
log = pathlib.Path(os.environ["LOG"])
def tell(what):
    with log.open("a") as file:
        file.write(f"{what} {os.environ['CUDA_VISIBLE_DEVICES']}\\n")
def wait_until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
tell("begin")
"""
END = 'tell("end")'
BOTH_BEGIN = 'wait_until(lambda: log.read_text().count("begin") >= 2)'


def job(path: Path, script: str, devices: int = 1, accelerator: str = "auto") -> Path:
    """A prepared folder of a job that runs ``script``."""
    path.mkdir()
    config: dict[str, Any] = {
        "name": "job",
        "seed": 0,
        "seeds": {},
        "objective": {"metric": "rmse", "mode": "min"},
        "data": {},
        "paths": {"data": "data"},
        "phases": {},
        "trainer": {"devices": devices, "accelerator": accelerator, "max_epochs": 5},
    }
    RunRecord.planned(config, []).write(path)
    (path / "job.py").write_text(TOLD + script)
    return path


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the jobs tell; they are started as ever, with another ``train.py``."""
    (tmp_path / "train.py").write_text(
        "import runpy, sys\n"
        "folder = sys.argv[1].removeprefix('run=').strip(chr(39))\n"
        "runpy.run_path(folder + '/job.py')\n"
    )
    monkeypatch.setattr(project, "_current", project.Project(tmp_path))
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,GPU-7")
    return tmp_path / "log"


def test_no_gpu_is_used_twice_and_as_many_jobs_run_as_there_are_gpus(
    log: Path, tmp_path: Path
) -> None:
    scripts = [(BOTH_BEGIN, 1), (BOTH_BEGIN, 1), ("", 2), ("", 1), ("", 1)]
    jobs = [job(tmp_path / str(i), s + "\n" + END, n) for i, (s, n) in enumerate(scripts)]
    returns = JobPool(jobs, None).run()
    assert [r.status for r in returns] == [JobStatus.COMPLETED] * 5
    taken: Counter[str] = Counter()
    for line in log.read_text().splitlines():
        what, gpus = line.split()
        for gpu in gpus.split(","):
            taken[gpu] += 1 if what == "begin" else -1
        assert set(taken) <= {"5", "GPU-7"}
        assert all(count in (0, 1) for count in taken.values())
    assert log.read_text().count("begin 5,GPU-7\n") + log.read_text().count("begin GPU-7,5\n") == 1


def test_jobs_at_a_time_limits_what_runs_at_once(log: Path, tmp_path: Path) -> None:
    jobs = [job(tmp_path / str(i), END, accelerator="cpu") for i in range(3)]
    JobPool(jobs, 1).run()
    assert [line.split()[0] for line in log.read_text().splitlines()] == ["begin", "end"] * 3


def test_a_killed_job_gives_its_gpu_back_and_stops_no_other(
    log: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    scripts = ["os.kill(os.getpid(), 9)", "raise SystemExit(3)", END, END]
    returns = JobPool([job(tmp_path / str(i), s) for i, s in enumerate(scripts)], None).run()
    assert [str(r._return_value) for r in returns[:2]] == [
        "ended by SIGKILL",
        "ended by exit status 3",
    ]
    assert [r.status for r in returns[2:]] == [JobStatus.COMPLETED] * 2
    lines = capfd.readouterr().out.splitlines()
    assert len(lines) == 4
    assert sum("ended by SIGKILL" in line for line in lines) == 1


def test_of_a_job_that_fails_no_process_is_left(log: Path, tmp_path: Path) -> None:
    """As those of the other ranks, which would wait for the first one."""
    script = """
import subprocess
child = subprocess.Popen(["sleep", "300"])
(log.parent / "child").write_text(str(child.pid))
os.kill(os.getpid(), 9)
"""
    JobPool([job(tmp_path / "0", script)], None).run()
    child = Path("/proc") / (tmp_path / "child").read_text()
    deadline = time.monotonic() + 10
    while child.exists() and "Z" not in (child / "stat").read_text().split()[2]:
        assert time.monotonic() < deadline, "the child lives on"
        time.sleep(0.01)


@pytest.mark.parametrize("threads", [None, "3"])
def test_threads_are_shared_out_unless_the_user_has_said_how_many(
    threads: str | None, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ablab.ablation.launch.job_pool.cores_here", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS")
    if threads:
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
    script = '(log.parent / "threads").write_text(os.environ["OMP_NUM_THREADS"])'
    JobPool([job(tmp_path / "0", script, devices=2, accelerator="cpu")], 2).run()
    assert (tmp_path / "threads").read_text() == (threads or "2")


def test_every_job_that_asks_for_too_much_is_told_and_nothing_is_run(
    log: Path, tmp_path: Path
) -> None:
    jobs = [job(tmp_path / str(devices), "", devices) for devices in (1, 3, 4)]
    with pytest.raises(ConfigError) as caught:
        JobPool(jobs, None)
    assert [line.split()[1] for line in str(caught.value).splitlines()] == ["3", "4"]
    assert not log.exists()


def test_told_again_before_it_has_passed_on_the_first_signal_it_leaves_no_job(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deaf = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
tell(os.getpid())
os.kill(os.getppid(), signal.SIGTERM)
time.sleep(60)
"""

    def told_again(lines: JobLines, text: str) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(JobLines, "say", told_again)
    with pytest.raises(RunInterrupted):
        JobPool([job(tmp_path / "0", deaf)], 1).run()
    process = int(log.read_text().splitlines()[1].split()[0])
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
