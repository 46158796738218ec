"""A plan that is killed again and again comes to the table of one that was left alone."""

import csv
import random
import time
from pathlib import Path
from typing import Any

import pytest

from ablab.report.table.collect import collect
from tests.launch import start, train, wait_for

KILLS = 4
PLAN = """
base:
  data.n_ratings: 4000
  trainer.accelerator: cpu
  trainer.max_epochs: 3
  checkpoints.every_n_steps: 17
  logger: csv
baseline: none
variants:
  none: {optim.weight_decay.mode: none}
  l2: {optim.weight_decay.mode: l2}
  sgd: {optim: momentum}
seeds: 2
"""


def table(folder: Path) -> list[dict[str, str]]:
    """The plan's table without what it took."""
    with (folder / "report.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [{k: v for k, v in r.items() if not k.startswith(("seconds", "hours"))} for r in rows]


def metrics(folder: Path) -> dict[str, Any]:
    return {run.folder.name: run.record.metrics for run in collect([folder])}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_plan_killed_again_and_again_ends_as_one_left_alone(tmp_path: Path) -> None:
    own = tmp_path / "own" / "ablation"
    own.mkdir(parents=True)
    (own / "steady.yaml").write_text(PLAN)
    arguments = ["--config-dir", str(tmp_path / "own"), "-m", "ablation=steady"]
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    for folder in (undisturbed, killed):
        folder.mkdir()
    assert train(*arguments, cwd=undisturbed, timeout=300).returncode == 0

    moments = random.Random(7)
    for kill in range(KILLS):
        started = time.time()
        with start(*arguments, cwd=killed) as process:
            if moments.random() < 0.7:  # while jobs run; else anywhere from the start
                wait_for(lambda p=process: "jobs to run" in p.output())
                wait_for(lambda p=process, s=started: p.poll() is not None or _writes(killed, s))
            time.sleep(moments.uniform(0.0, 0.6))
            assert process.poll() is None, f"it was over before kill {kill}: {process.output()}"
            process.kill()
    rest = train(*arguments, cwd=killed, timeout=300)
    assert rest.returncode == 0, rest.stdout + rest.stderr
    plan = Path("runs") / "ablation" / "steady"
    assert metrics(killed / plan) == metrics(undisturbed / plan)
    assert table(killed / plan) == table(undisturbed / plan)
    went_on = sum(len(run.record.continued) for run in collect([killed / plan]))
    assert went_on >= 2  # that many kills hit one in the middle


def _writes(folder: Path, since: float) -> bool:
    """Whether a job has come to its training ``since``: it has written a line of its log."""
    return any(log.stat().st_mtime > since for log in folder.rglob("metrics.csv"))
