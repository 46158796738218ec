"""Plans under Hydra's other launchers: submitit on this machine and on SLURM, and Ray."""

import importlib.util
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.ablab.ablation import fake_slurm
from tests.launch import TINY, command, environment, train, wait_for

pytestmark = pytest.mark.timeout(300)  # two cores may have other work
FAILING = ["-m", *TINY, "data.n_ratings=2000,1"]  # a job that ends well, and one that fails
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


@pytest.mark.slow
def test_submitit_on_this_machine(tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    done = train(*FAILING, "hydra/launcher=submitit_local", cwd=tmp_path)
    is_told(done, tmp_path)


@pytest.mark.slow
def test_what_is_edited_after_the_start_changes_no_job(tmp_path: Path) -> None:
    """The worker composes the config again; the run does not look at it."""
    pytest.importorskip("submitit")
    own = tmp_path / "own" / "experiment"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text("# @package _global_\noptim: {lr: 0.02}\n")
    arguments = ["--config-dir", str(tmp_path / "own"), "-m", *TINY, "experiment=mine", "seed=0,1"]
    with subprocess.Popen(
        command(*arguments, "hydra/launcher=submitit_local"), cwd=tmp_path, env=environment()
    ) as process:
        wait_for(lambda: list(tmp_path.rglob("*_submitted.pkl")))
        (own / "mine.yaml").write_text("# @package _global_\noptim: {lr: 0.09}\n")
        assert process.wait(timeout=200) == 0
    assert [r["config"]["optim"]["lr"] for r in records(tmp_path)] == [0.02, 0.02]
    for log in tmp_path.rglob("run.log"):
        assert "0.02" in log.read_text()  # in the table of parameter groups


@pytest.mark.slow
def test_a_job_that_is_preempted_goes_on_where_it_was(tmp_path: Path) -> None:
    """As SLURM does it: its own signal to the worker, which has the job queued again, then SIGTERM
    to every process."""
    pytest.importorskip("submitit")
    arguments = ["-m", *TINY, "trainer.max_epochs=100", "hydra/launcher=submitit_local"]
    with subprocess.Popen(command(*arguments), cwd=tmp_path, env=environment()) as process:
        wait_for(lambda: list(tmp_path.rglob("manifest.json")))
        job = records(tmp_path)[0]["process"]["pid"]
        os.kill(worker_of(job), signal.SIGUSR2)
        os.kill(job, signal.SIGTERM)
        assert process.wait(timeout=200) == 0
    (record,) = records(tmp_path)
    assert record["status"] == "done"
    assert len(record["continued"]) == 1


def worker_of(job: int) -> int:
    """The process that has started process ``job``."""
    status = Path(f"/proc/{job}/status").read_text()
    return int(status.split("PPid:")[1].split()[0])


@pytest.mark.slow
def test_slurm_batch_script_and_jobs(tmp_path: Path) -> None:
    """Two ranks a job, under the environment that srun gives to its tasks."""
    pytest.importorskip("submitit")
    fake_slurm.install(tmp_path / "slurm")
    path = f"{tmp_path / 'slurm'}{os.pathsep}{os.environ['PATH']}"
    options = ["hydra.launcher.partition=long", "hydra.launcher.timeout_min=90", "name=mine"]
    done = train(
        *FAILING, *DDP, "hydra/launcher=slurm", *options, cwd=tmp_path, timeout=200, PATH=path
    )
    is_told(done, tmp_path)
    assert records(tmp_path)[0]["device"] == "cpu x 2"
    script = (tmp_path / "slurm" / "script").read_text()
    flags = {
        line.removeprefix("#SBATCH --") for line in script.splitlines() if "#SBATCH --" in line
    }
    assert flags >= {
        *("array=0-1%2", "gpus-per-node=2", "nodes=1", "ntasks-per-node=1", "cpus-per-task=4"),
        *("job-name=mine", "partition=long", "signal=USR2@120", "time=90"),
    }
    assert "srun" in script
    assert "submitit.core._submit" in script


@pytest.mark.slow
def test_ray_on_this_machine(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    cpus = "+hydra.launcher.ray.init.num_cpus=2"
    done = train(*FAILING, "hydra/launcher=ray", cpus, cwd=tmp_path, timeout=250)
    is_told(done, tmp_path)


def test_a_launcher_that_is_not_installed_is_named_with_its_extra(tmp_path: Path) -> None:
    if importlib.util.find_spec("ray"):
        pytest.skip("Ray is installed")
    done = train("-m", *TINY, "hydra/launcher=ray", cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "'ray' is not installed; pip install -e '.[ray]'" in line
