"""Sweeps on a real Ray cluster of two machines, which are two raylets here: kill one of them, and
look for what was lost."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.launch import TINY, command, environment, train, wait_for

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(900),  # other work may slow them
    pytest.mark.xdist_group(__name__),
]
SLOW = [
    *("-m", *TINY, "trainer.max_epochs=8", "hydra.sweep.dir=runs/plan", "seed=0,1,2"),
    *("callbacks.slow._target_=toy.callbacks.Slow", "callbacks.slow.seconds=0.05"),
]


class Cluster:
    """A head and another raylet, each with one CPU and two GPUs that are only names."""

    def __init__(self) -> None:
        cluster_utils = pytest.importorskip("ray.cluster_utils")
        of_node = {"num_cpus": 1, "num_gpus": 2, "include_dashboard": False}
        self._cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=of_node)
        self._other = self._cluster.add_node(num_cpus=1, num_gpus=2)
        self._cluster.wait_for_nodes()

    def kill_other(self) -> None:
        self._cluster.remove_node(self._other, allow_graceful=False)

    def stop(self) -> None:
        self._cluster.shutdown()

    def sweep(self, cwd: Path, *more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command(*SLOW, "hydra/launcher=ray", f"hydra.launcher.address={self.address}", *more),
            cwd=cwd,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    @property
    def address(self) -> str:
        return self._cluster.address


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "300")  # where other work goes on
    started = Cluster()
    yield started
    started.stop()


def records(cwd: Path) -> list[dict[str, Any]]:
    """By their seeds."""
    found = [json.loads(path.read_text()) for path in cwd.rglob("run.json")]
    return sorted(found, key=lambda record: record["seeds"]["seed"])


def running(cwd: Path, jobs: int) -> list[int]:
    """Wait until so many jobs have a checkpoint; return the numbers of their processes."""
    wait_for(lambda: len(list(cwd.rglob("manifest.json"))) >= jobs, timeout=300)
    return [r["process"]["pid"] for r in records(cwd) if r["status"] == "running"]


def end(sweep: subprocess.Popen[str]) -> str:
    return sweep.communicate(timeout=400)[0]


def test_a_machine_that_is_lost_costs_no_job(cluster: Cluster, tmp_path: Path) -> None:
    sweep = cluster.sweep(tmp_path)
    assert len(running(tmp_path, 2)) == 2  # one on each of them
    cluster.kill_other()
    output = end(sweep)
    assert sweep.returncode == 0, output
    assert "it is started again" in output
    ended = records(tmp_path)
    assert [r["status"] for r in ended] == ["done"] * 3
    assert sorted(len(r["continued"]) for r in ended) == [0, 0, 1]
    alone = tmp_path / "alone"
    alone.mkdir()
    assert train(*SLOW, cwd=alone, timeout=300).returncode == 0
    assert [r["metrics"] for r in records(alone)] == [r["metrics"] for r in ended]
