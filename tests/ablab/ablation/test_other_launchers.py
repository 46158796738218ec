"""Plans under SLURM, with stand-ins for its commands, and on a Ray of this machine."""

import importlib.util
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.ablab.ablation import fake_slurm
from tests.launch import TINY, command, environment, train, wait_for

pytestmark = pytest.mark.timeout(300)  # two cores may have other work
WARM = pytest.mark.usefixtures("warm_starts")
FAILING = ["-m", *TINY, "data.n_ratings=2000,1"]  # a job that ends well, and one that fails
SLURM = ["hydra/launcher=slurm", "hydra.launcher.poll_seconds=0.2"]
DDP = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]


def records(runs: Path) -> list[dict[str, Any]]:
    """By their number of ratings, the larger first."""
    found = [json.loads(path.read_text()) for path in runs.rglob("run.json")]
    return sorted(found, key=lambda record: -record["config"]["data"]["n_ratings"])


def is_told(done: subprocess.CompletedProcess[str], runs: Path) -> None:
    """One job is done, one has failed, and the sweep says so."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert [r["status"] for r in records(runs)] == ["done", "failed"]
    assert "1 done, 1 failed" in done.stdout
    assert "failed: DataError: all 1 training targets are" in done.stdout


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of stand-ins for SLURM's commands; tests/cluster has a real SLURM."""
    folder = tmp_path / "slurm"
    fake_slurm.install(folder)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


@WARM
@pytest.mark.slow
def test_what_is_edited_after_the_start_changes_no_job(slurm: Path, tmp_path: Path) -> None:
    """The job composes the config again; the run does not look at it."""
    own = tmp_path / "own" / "experiment"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text("# @package _global_\noptim: {lr: 0.02}\n")
    arguments = ["--config-dir", str(tmp_path / "own"), "-m", *TINY, "experiment=mine", "seed=0,1"]
    with subprocess.Popen(command(*arguments, *SLURM), cwd=tmp_path, env=environment()) as process:
        wait_for(lambda: list(slurm.glob("*.flags")))
        (own / "mine.yaml").write_text("# @package _global_\noptim: {lr: 0.09}\n")
        assert process.wait(timeout=200) == 0
    assert [r["config"]["optim"]["lr"] for r in records(tmp_path)] == [0.02, 0.02]
    for log in tmp_path.rglob("run.log"):
        assert "0.02" in log.read_text()  # in the table of parameter groups


@WARM
@pytest.mark.slow
def test_slurm_batch_script_and_jobs(slurm: Path, tmp_path: Path) -> None:
    """Two ranks a job, under the environment that a batch script has."""
    options = [
        *("hydra.launcher.partition=long", "hydra.launcher.timeout_min=90", "name=mine"),
        *("hydra.launcher.setup=['set -eu; export MINE=1']", "hydra.launcher.mem_gb=1.5"),
        "hydra.launcher.additional_parameters={exclude: n1}",
    ]
    done = train(*FAILING, *DDP, *SLURM, *options, cwd=tmp_path, timeout=200)
    is_told(done, tmp_path)
    assert records(tmp_path)[0]["device"] == "cpu x 2"
    flags = set((slurm / "1.flags").read_text().splitlines())
    assert flags >= {
        *("--nodes=1", "--ntasks=1", "--cpus-per-task=4", "--mem=1536M", "--exclude=n1"),
        *("--job-name=mine", "--partition=long", "--signal=B:USR1@120", "--time=90", "--requeue"),
    }
    assert not any("gpus" in flag for flag in flags)  # the job is for CPUs


@WARM
@pytest.mark.slow
def test_a_line_of_setup_that_fails_ends_the_slurm_job(slurm: Path, tmp_path: Path) -> None:
    setup = "hydra.launcher.setup=['export A=3','(exit $A)','true']"
    done = train("-m", *TINY, "seed=0,1", *SLURM, setup, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "seed=1  failed as seed=0 did" in done.stdout
    assert "ended without a result (FAILED with exit code 3:0)" in done.stdout
    log = Path(re.findall(r"log: (\S+)", done.stdout)[0])
    assert "(exit $A)" in (tmp_path / log).read_text()


@WARM
@pytest.mark.slow
def test_a_slurm_job_that_squeue_does_not_show_is_waited_for(slurm: Path, tmp_path: Path) -> None:
    (slurm / "squeue").write_text("#!/bin/sh\n")
    done = train("-m", *TINY, *SLURM, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert len(list(slurm.glob("*.flags"))) == 1


@WARM
@pytest.mark.slow
def test_a_run_folder_that_is_gone_stops_no_other_slurm_job(slurm: Path, tmp_path: Path) -> None:
    remove = ["callbacks.own._target_=toy.callbacks.Reckless", "callbacks.own.how=remove,nothing"]
    done = train("-m", *TINY, *remove, *SLURM, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "no run is there (no file run.json)" in done.stdout
    assert [json.loads(p.read_text())["status"] for p in tmp_path.rglob("run.json")] == ["done"]


def test_slurm_settings_are_checked_before_a_job_is_composed(tmp_path: Path) -> None:
    done = train("-m", *TINY, *SLURM, "hydra.launcher.timeout_min=1h", cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: hydra.launcher.timeout_min: should be a valid integer")


def test_slurm_where_its_commands_are_not(tmp_path: Path) -> None:
    done = train("-m", *TINY, *SLURM, cwd=tmp_path, PATH=str(tmp_path))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: hydra/launcher=slurm: squeue is not installed here")


@WARM
@pytest.mark.slow
def test_ray_on_this_machine(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    done = train(*FAILING, "hydra/launcher=ray", cwd=tmp_path, timeout=250)
    is_told(done, tmp_path)


def test_a_launcher_that_is_not_installed_is_named_with_its_extra(tmp_path: Path) -> None:
    if importlib.util.find_spec("ray"):
        pytest.skip("Ray is installed")
    done = train("-m", *TINY, "hydra/launcher=ray", cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line == "error: hydra/launcher=ray: needs Ray; pip install 'ablation-lab[ray]'"
