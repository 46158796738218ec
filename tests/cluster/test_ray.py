"""Sweeps on a real Ray cluster of two machines, which are two raylets here: stop the sweep, kill a
machine, kill the head, and look for what was lost."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from tests import warm
from tests.launch import TINY, command, environment, python, train, wait_for

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(2400),  # other work may slow them
]
SLOW = [
    *("-m", *TINY, "hydra.sweep.dir=runs/plan", "seed=0,1,2", "checkpoints.every_n_steps=2"),
    *("callbacks.slow._target_=toy.callbacks.Slow", "callbacks.slow.seconds=1.0"),
]
STOPS_WITHIN = 120  # seconds, as docs/launchers.md says
WITHOUT_HEAD = 120


class Cluster:
    """A head with two CPUs and two GPUs that are only names, and another raylet with one CPU."""

    def __init__(self) -> None:
        cluster_utils = pytest.importorskip("ray.cluster_utils")
        head = {"num_cpus": 2, "num_gpus": 2, "include_dashboard": False}
        with patch.object(sys, "executable", python()):
            self._cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=head)
            self._other = self._cluster.add_node(num_cpus=1)
        self._cluster.wait_for_nodes()

    def kill_other(self) -> None:
        self._cluster.remove_node(self._other, allow_graceful=False)

    def kill_head(self) -> None:
        self._cluster.head_node.kill_all_processes(check_alive=False, allow_graceful=False)

    def stop(self) -> None:
        for node in (self._other, self._cluster.head_node):
            node.kill_all_processes(check_alive=False, allow_graceful=False, wait=True)

    def sweep(self, cwd: Path, *more: str) -> subprocess.Popen[str]:
        """Start a plan whose jobs are slow until the file "go" is in ``cwd``."""
        ray = ["hydra/launcher=ray", f"hydra.launcher.address={self.address}"]
        return subprocess.Popen(
            command(*SLOW, *ray, f"callbacks.slow.until={cwd / 'go'}", *more),
            cwd=cwd,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    @property
    def address(self) -> str:
        return self._cluster.address


@pytest.fixture(scope="module")
def cluster(warm_commands: Path) -> Iterator[Cluster]:
    """Ray's own processes, sweeps and jobs are forks that have imported torch."""
    with pytest.MonkeyPatch.context() as given:
        given.setenv("PYTHONPATH", environment()["PYTHONPATH"])
        given.setenv(warm.PYTHON, str(warm_commands / "python"))
        # A driver of Ray takes a whole core while it waits for a lost head, by default for 60 s.
        given.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "15")
        started = Cluster()
        yield started
        started.stop()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The metrics of the jobs, one after the other in one process."""
    cwd = tmp_path_factory.mktemp("undisturbed")
    assert train(*SLOW[:-1], "callbacks.slow.seconds=0.0", cwd=cwd, timeout=300).returncode == 0
    return [record["metrics"] for record in records(cwd)]


def records(cwd: Path) -> list[dict[str, Any]]:
    """By their seeds."""
    found = [json.loads(path.read_text()) for path in cwd.rglob("run.json")]
    return sorted(found, key=lambda record: record["seeds"]["seed"])


def running(cwd: Path, jobs: int) -> list[int]:
    """Wait until so many running jobs have a checkpoint; return the ids of their processes."""

    def pids() -> list[int]:
        of_jobs = [
            json.loads((path.parents[1] / "run.json").read_text())
            for path in cwd.rglob("manifest.json")
        ]
        return [r["process"]["pid"] for r in of_jobs if r["status"] == "running"]

    wait_for(lambda: len(pids()) >= jobs, timeout=300)
    return pids()


def end(sweep: subprocess.Popen[str]) -> str:
    return sweep.communicate(timeout=800)[0]


def gpus_of_jobs(cwd: Path) -> list[str]:
    """Return CUDA_VISIBLE_DEVICES of each process that was started for a job of a sweep."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if f"\0run={cwd}" in path.read_text():
                variables = path.with_name("environ").read_text().split("\0")
                found += [v.partition("=")[2] for v in variables if v.startswith("CUDA_VISIBLE")]
    return sorted(found)


def test_jobs_have_gpus_of_their_own_and_a_stopped_sweep_goes_on(
    cluster: Cluster, tmp_path: Path, undisturbed: list[dict[str, Any]]
) -> None:
    """SIGTERM, then Ctrl-C, then to the end; only the head has GPUs, one for each of two jobs."""
    for number in (signal.SIGTERM, signal.SIGINT):
        sweep = cluster.sweep(tmp_path, "hydra.launcher.gpus_per_job=1")
        jobs = running(tmp_path, 2)
        assert gpus_of_jobs(tmp_path) == ["0", "1"]
        os.kill(sweep.pid, number)
        began = time.monotonic()
        output = end(sweep)
        assert sweep.returncode == 128 + number, output
        assert time.monotonic() - began < STOPS_WITHIN
        stopped = [r for r in records(tmp_path) if r["process"].get("pid") in jobs]
        assert [(r["status"], r["exit_code"]) for r in stopped] == [("interrupted", 143)] * 2
    (tmp_path / "go").touch()
    sweep = cluster.sweep(tmp_path, "hydra.launcher.gpus_per_job=1")
    output = end(sweep)
    assert sweep.returncode == 0, output
    assert [r["status"] for r in records(tmp_path)] == ["done"] * 3
    assert [r["metrics"] for r in records(tmp_path)] == undisturbed


def test_a_machine_that_is_lost_costs_no_job(
    cluster: Cluster, tmp_path: Path, undisturbed: list[dict[str, Any]]
) -> None:
    sweep = cluster.sweep(tmp_path)
    running(tmp_path, 3)  # two on the head and one on the other
    cluster.kill_other()
    (tmp_path / "go").touch()
    output = end(sweep)
    assert sweep.returncode == 0, output
    assert "it is started again" in output
    ended = records(tmp_path)
    assert [r["status"] for r in ended] == ["done"] * 3
    assert sorted(len(r["continued"]) for r in ended) == [0, 0, 1]
    assert [r["metrics"] for r in ended] == undisturbed


def test_after_the_head_is_lost_the_same_command_goes_on(
    cluster: Cluster, tmp_path: Path, undisturbed: list[dict[str, Any]]
) -> None:
    """It comes last, since the cluster is lost with its head."""
    sweep = cluster.sweep(tmp_path)
    jobs = running(tmp_path, 2)
    cluster.kill_head()
    began = time.monotonic()
    output = end(sweep)
    assert sweep.returncode == 1, output
    assert time.monotonic() - began < WITHOUT_HEAD
    assert "the head of the Ray cluster" in output
    wait_for(lambda: not any(Path(f"/proc/{job}").exists() for job in jobs))
    (tmp_path / "go").touch()
    again = Cluster()
    try:
        sweep = again.sweep(tmp_path)
        output = end(sweep)
    finally:
        again.stop()
    assert sweep.returncode == 0, output
    assert [r["metrics"] for r in records(tmp_path)] == undisturbed
