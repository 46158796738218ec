"""A plan at Weights & Biases: what its offline files would send, also of jobs that went wrong."""

from pathlib import Path
from typing import Any

import pytest

from tests.ablab.trackers.offline_log import OfflineRun, read_offline_run
from tests.launch import train

PLAN = """
base:
  model.n_factors: 2
  trainer.accelerator: cpu
  trainer.max_epochs: 2
  logger.wandb.mode: offline
baseline: fine
variants:
  fine:
  crashes: {callbacks.crash: {_target_: toy.callbacks.CrashAt, step: 10}}
  stops: {callbacks.stop: {_target_: toy.callbacks.SignalAt, step: 30}}
  last: {optim.lr: 0.02}
seeds: [3]
"""


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_each_job_is_a_run_of_the_plan_with_its_true_end(tmp_path: Path) -> None:
    own = tmp_path / "own" / "ablation"
    own.mkdir(parents=True)
    (own / "tracked.yaml").write_text(PLAN)
    arguments = ["--config-dir", str(tmp_path / "own"), "-m", "ablation=tracked"]
    quiet: dict[str, Any] = {"WANDB_ERROR_REPORTING": "false"}
    stopped = train(*arguments, cwd=tmp_path, **quiet)
    assert stopped.returncode == 143, stopped.stdout + stopped.stderr
    runs = sent(tmp_path)
    assert {name: run.exit_code for name, (run,) in runs.items()} == {
        "fine": 0,
        "crashes": 1,
        "stops": 143,
    }
    for (run,) in runs.values():
        assert (run.group, run.job_type) == ("tracked", "fit")
        assert "seed=3" in run.tags
        assert run.config["seed"] == 3

    rest = train(*arguments, cwd=tmp_path, **quiet)
    assert rest.returncode == 1, rest.stdout + rest.stderr  # the failed job is still not done
    runs = sent(tmp_path)
    first, second = runs["stops"]
    assert (first.id, second.exit_code) == (second.id, 0)  # one W&B run in two pieces
    assert [run.exit_code for run in runs["last"]] == [0]
    assert len(runs["crashes"]) == 1
    (report,) = runs["report"]
    assert (report.group, report.job_type, report.exit_code) == ("tracked", "report", 1)
    assert report.summary["plan._type"] == "table-file"
    assert report.summary["plan.nrows"] == 4 * 3  # a row a variant and metric


def sent(tmp_path: Path) -> dict[str, list[OfflineRun]]:
    """By their names, each with its pieces in their order."""
    runs: dict[str, list[OfflineRun]] = {}
    for path in sorted(tmp_path.rglob("*.wandb"), key=lambda path: path.parent.name):
        run = read_offline_run(path)
        runs.setdefault(run.name, []).append(run)
    return runs
