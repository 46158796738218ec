"""Statistics over tasks: equal to their definitions, and shown where a plan has several tasks."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ablab.report.__main__ import main
from ablab.report.table.tasks import (
    across_tasks,
    interquartile_mean,
    performance_profile,
    probability_of_improvement,
)
from tests.ablab.report.plan_folders import Metrics, table_of, write_plan

# By task; these and their three results are those in rliable's own test of its metrics.
X = [np.array([1.0, 2, 1, 2]), np.array([2.0, 2, 1, 1])]
Y = [np.array([1.0, 2, 3]), np.array([1.0, 2, 3])]


def test_they_are_what_their_authors_compute() -> None:
    assert interquartile_mean(X).value == 1.5
    assert interquartile_mean(Y).value == 2
    assert probability_of_improvement(X, Y).value == pytest.approx(1 / 3)
    assert probability_of_improvement(Y, X).value == pytest.approx(2 / 3)
    assert probability_of_improvement(X, X).value == 0.5
    # A quarter of ten is cut down to two at each end: (2 + … + 7) / 6.
    assert interquartile_mean([np.arange(5.0), np.arange(5.0, 10.0)]).value == 4.5


def test_a_profile_is_the_share_of_runs_beyond_a_score_and_weighs_tasks_alike() -> None:
    scores = [np.array([1.0]), np.array([1.0, 2.0, 3.0, 4.0])]
    higher = performance_profile(scores, [0, 1, 2.5], lower=False)
    assert higher[0].tolist() == [1, 0.375, 0.25]
    lower = performance_profile(scores, [0, 1, 2.5], lower=True)
    assert lower[0].tolist() == [0, 0, 0.75]
    assert np.all(lower[1] <= lower[0])
    assert np.all(lower[0] <= lower[2])


def test_intervals_draw_the_runs_of_each_task_anew_and_always_alike() -> None:
    # A bootstrap that mixed the tasks would have a wide interval: each has one value.
    apart = interquartile_mean([np.full(4, 1.0), np.full(4, 9.0)])
    assert (apart.low, apart.value, apart.high) == (5, 5, 5)
    values = np.random.default_rng(1).normal(size=(40, 5))
    normal = interquartile_mean(list(values))
    assert normal == interquartile_mean(list(values))
    assert 0.2 < normal.high - normal.low < 0.5  # of a mean of 100: 4 × 0.1, less than of 200 alone
    assert math.isnan(interquartile_mean([np.array([1.0]), np.array([2.0, 3.0])]).low)


def plan(folder: Path, seeds: int = 3, **more: Any) -> Path:
    def result(variant: str | None, settings: dict[str, Any], seed: int) -> Metrics:
        if variant == "lacks" and settings["data.split"] == "u2":
            return "failed"
        return {"rmse": 1.0 * (settings["data.split"] == "u2"), "mae": 1.0 * (variant == "l2")}

    grid = [{"data.split": split} for split in ("u1", "u2")]
    variants = ["none", "l2", "lacks"]
    metrics = ["test/mae", "test/rmse"]
    baseline = {"variant": "none"}
    return write_plan(
        folder,
        result,
        variants=variants,
        grid=grid,
        seeds=range(seeds),
        metrics=metrics,
        baseline=baseline,
        **more,
    )


def test_a_plan_that_averages_over_splits_has_them_everywhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = plan(tmp_path / "p", average=["data.split"])
    by_mae, by_rmse = across_tasks(table_of(folder))
    assert (by_mae.metric, by_mae.tasks, by_mae.runs) == ("test/mae", 2, 3)
    assert {row: found.value for row, found in by_mae.iqm.items()} == {0: 0, 1: 1}  # not: lacks
    assert {row: found.value for row, found in by_mae.better.items()} == {1: 0}
    assert by_rmse.better[1].value == 0.5
    for form in ("terminal", "markdown"):
        assert main([str(folder), "--format", form]) == 0
        out = capsys.readouterr().out
        assert "better than none with probability 0.00 [0.00, 0.00]" in out
    assert main([str(folder), "--format", "json"]) == 0
    (first, _) = json.loads(capsys.readouterr().out)["across_tasks"]
    assert first["rows"][1]["better"] == 0
    assert main([str(folder), "--output", str(folder / "report.html")]) == 0
    page = (folder / "report.html").read_text()
    assert "interquartile mean" in page
    assert "Performance profile of test/mae" in page


def test_a_row_without_a_run_has_no_scores(tmp_path: Path) -> None:
    def result(variant: str | None, settings: dict[str, Any], seed: int) -> Metrics:
        lost = variant == "lost" and settings["data.split"] == "u2" and seed == 0
        return "failed" if lost else {"rmse": 1.0 * seed}

    folder = write_plan(
        tmp_path / "p",
        result,
        variants=["none", "lost"],
        grid=[{"data.split": split} for split in ("u1", "u2")],
        seeds=range(3),
        average=["data.split"],
    )
    (found, *_) = across_tasks(table_of(folder))
    assert list(found.iqm) == [0]


@pytest.mark.parametrize("baseline", [{"variant": "none"}, {}])
def test_tasks_of_different_scale_are_divided_by_the_baseline_or_not_pooled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], baseline: dict[str, str]
) -> None:
    def result(variant: str | None, settings: dict[str, Any], seed: int) -> Metrics:
        scale = 30 if settings["data.name"] == "riders" else 1
        return {"rmse": scale * (0.9 if variant == "l2" else 1.0)}

    folder = write_plan(
        tmp_path / "p",
        result,
        variants=["none", "l2"],
        grid=[{"data.name": name} for name in ("riders", "movies")],
        seeds=range(3),
        average=["data.name"],
        baseline=baseline,
    )
    (found, *_) = across_tasks(table_of(folder))
    assert found.relative is bool(baseline)
    of_l2 = found.iqm[1].value
    assert of_l2 == pytest.approx(0.9) if baseline else math.isnan(of_l2)
    assert main([str(folder)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert ("no interquartile mean of test/rmse" in out) is not bool(baseline)
    assert "lie between 0.95 and 28.5" in out


def test_another_plan_has_none(tmp_path: Path) -> None:
    assert across_tasks(table_of(plan(tmp_path / "p"))) == []
    one = {"grid": [{"data.split": "u1"}], "average": ["data.split"]}
    folder = write_plan(tmp_path / "one", lambda *_: {"rmse": 1.0}, **one)
    assert across_tasks(table_of(folder)) == []
