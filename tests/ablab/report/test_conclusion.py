"""The conclusion: verdicts, the best and what cannot be told from it, right by other formulas."""

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from ablab.report.forms.conclusion_lines import conclusion_lines
from ablab.report.table.conclusion import Conclusion, conclude
from ablab.report.table.holm import corrected
from ablab.report.table.paired import PairedDifference, paired_difference
from tests.ablab.report.plan_folders import Metrics, change, table_of, write_plan

NOISE = (0.0, 0.004, -0.003, 0.001, -0.002)


def difference(values: list[float]) -> PairedDifference:
    ours = {str(seed): value for seed, value in enumerate(values)}
    found = paired_difference(ours, dict.fromkeys(ours, 0.0))
    assert found is not None
    return found


def test_corrected_p_values_are_those_of_the_closed_test() -> None:
    """Holm's is the closed test of Bonferroni's: the largest over all families that have one."""
    random = np.random.default_rng(3)
    of = ((3, 5), (1, 4), (0, 6), (2, 3), (-2, 5))
    samples = [random.normal(mean, 1.0, n).tolist() for mean, n in of]
    by = [0.0, 0.5, 0.0, -1.0, 0.0]
    own = [float(np.asarray(ttest_1samp(s, b))[1]) for s, b in zip(samples, by, strict=True)]
    found = corrected([difference(sample) for sample in samples], by)
    for index, one in enumerate(found):
        each = [itertools.combinations(range(5), n) for n in range(1, 6)]
        families = [family for families in each for family in families if index in family]
        expected = max(min(1.0, len(f) * min(own[i] for i in f)) for f in families)
        assert one.p == pytest.approx(expected, rel=1e-9)
        assert one.separable == (not one.low <= by[index] <= one.high)
    first = int(np.argmin(own))  # which is tested at a fifth of 5 %
    interval = ttest_1samp(samples[first], by[first]).confidence_interval(1 - 0.05 / 5)
    assert (found[first].low, found[first].high) == pytest.approx(tuple(interval), rel=1e-9)


def test_the_number_of_seeds_is_the_first_whose_interval_excludes_zero() -> None:
    (one,) = corrected([difference([0.1, -0.05, 0.08, -0.01])], [0.0])
    assert one.seeds is not None
    mean, std = one.difference.mean, one.difference.std
    for n, excludes in ((one.seeds, True), (one.seeds - 1, False)):
        unit = np.array([*range(n)], dtype=float)
        sample = mean + std * (unit - unit.mean()) / unit.std(ddof=1)
        low = ttest_1samp(sample, 0.0).confidence_interval(0.95).low
        assert (low > 0) == excludes
    assert corrected([difference([1.0, -1.0])], [0.0])[0].seeds is None
    assert corrected([difference([1.0, -1.0 + 1e-9])], [0.0])[0].seeds is None


def test_one_seed_and_what_diverged_are_no_comparisons() -> None:
    alone, diverged = difference([1.0]), difference([math.nan, 1.0])
    clear = difference([1.0, 1.1, 0.9])
    with_others = corrected([alone, clear, diverged], [0.0] * 3)
    assert [math.isnan(one.p) for one in with_others] == [True, False, True]
    assert not with_others[0].separable
    assert with_others[1] == corrected([clear], [0.0])[0]
    assert corrected([], []) == []


def plan(folder: Path, levels: dict[str, float], expect: list[dict[str, Any]], **more: Any) -> Path:
    def result(variant: str | None, settings: dict[str, Any], seed: int) -> Metrics:
        own = {"none": 0, "l2": 1, "decoupled": 2}.get(str(variant), 3)
        level = levels[str(variant)] + settings.get("optim.lr", 0.0)
        return {"rmse": level + NOISE[(seed + own) % 5], "accuracy": 1 - level}

    parts = [
        {**part, "better": {"variant": part["better"]}, "than": {"variant": part["than"]}}
        for part in expect
    ]
    more = {"baseline": {"variant": "none"}, "seeds": range(5), "claim": "It helps", **more}
    return write_plan(folder, result, variants=list(levels), expect=parts, **more)


def concluded(folder: Path) -> Conclusion:
    return conclude(table_of(folder))


@pytest.mark.parametrize(
    ("expect", "outcomes"),
    [
        ([], []),
        ([{"better": "l2", "than": "none"}], ["holds"]),
        ([{"better": "none", "than": "l2"}], ["fails"]),
        ([{"better": "l2", "than": "decoupled"}], ["undecided"]),
        ([{"better": "l2", "than": "none", "by": 0.04}], ["holds"]),
        ([{"better": "l2", "than": "none", "by": 0.06}], ["fails"]),
        ([{"better": "l2", "than": "decoupled", "by": -0.02}], ["holds"]),
        ([{"better": "l2", "than": "none"}, {"better": "none", "than": "l2"}], ["holds", "fails"]),
        ([{"better": "l2", "than": "none", "metric": "test/accuracy"}], ["holds"]),
        ([{"better": "l2", "than": "none", "metric": "test/none"}], ["undecided"]),
        ([{"better": "gone", "than": "none"}], ["undecided"]),
    ],
)
def test_a_claim_holds_fails_or_is_undecided(
    expect: list[dict[str, Any]], outcomes: list[str], tmp_path: Path
) -> None:
    parts = [{"metric": "test/rmse", **part} for part in expect]
    found = concluded(plan(tmp_path / "p", {"none": 0.95, "l2": 0.9, "decoupled": 0.901}, parts))
    assert [verdict.outcome for verdict in found.verdicts] == outcomes
    of_all = {"fails", "undecided"} & set(outcomes) or set(outcomes) or {None}
    assert {found.outcome} == of_all


def test_a_claim_about_a_metric_that_no_run_has_logged(tmp_path: Path) -> None:
    part = {"better": "l2", "than": "none", "metric": "test/rms"}
    (verdict,) = concluded(plan(tmp_path / "p", {"none": 0.95, "l2": 0.9}, [part])).verdicts
    assert verdict.reason == "no run has logged 'test/rms'; did you mean 'test/rmse'?"


def test_the_best_and_what_cannot_be_told_from_it(tmp_path: Path) -> None:
    levels = {"none": 0.95, "l2": 0.9, "decoupled": 0.901}
    (standing,) = concluded(plan(tmp_path / "p", levels, [])).standings
    assert (standing.best, standing.reference) == (1, 0)
    assert [one.row for one in standing.near] == [2]
    assert [one.row for one in standing.against] == [1, 2]
    best = standing.best_against_reference
    assert best is not None
    assert best.found.difference.mean == pytest.approx(-0.05)
    assert best.found.high < 0


def test_each_variant_of_a_grid_counts_by_its_best_setting(tmp_path: Path) -> None:
    grid = [{"optim.lr": lr} for lr in (0.01, 0.02, 0.03)]
    levels = {"none": 0.95, "l2": 0.9}
    table = table_of(plan(tmp_path / "p", levels, [], grid=grid))
    (standing,) = conclude(table).standings
    assert [table.rows[i].variant for i in standing.contestants] == [
        (("variant", "l2"), ("optim.lr", "0.01")),
        (("variant", "none"), ("optim.lr", "0.01")),
    ]
    assert standing.reference == 0
    edges = [(edge.axis, edge.value, edge.largest) for edge in standing.edges]
    assert edges == [("optim.lr", "0.01", False)] * 2


def test_what_a_claim_is_about_comes_first(tmp_path: Path) -> None:
    part = {"better": "l2", "than": "none", "metric": "test/accuracy"}
    found = concluded(plan(tmp_path / "p", {"none": 0.95, "l2": 0.9}, [part]))
    assert [standing.metric for standing in found.standings] == ["test/accuracy", "test/rmse"]


def told(folder: Path) -> dict[str, str]:
    table = table_of(folder)
    lines = conclusion_lines(table, conclude(table))
    return {line.label: " | ".join((line.mark, line.text, *line.below)) for line in lines}


def test_failures_are_grouped_by_reason_with_the_settings_that_they_share(tmp_path: Path) -> None:
    def result(variant: str | None, settings: dict[str, Any], seed: int) -> Metrics:
        if settings["optim.lr"] == 9.0:
            return "failed"
        return "missing" if seed == 2 else {"rmse": settings["optim.lr"]}

    grid = [{"optim.lr": lr} for lr in (0.1, 9.0)]
    folder = write_plan(tmp_path / "p", result, variants=["none", "l2"], grid=grid)
    for number, job in enumerate(sorted(folder.glob("*_9.0_*"))):  # l2's, then none's
        error = {"type": "TrainingError", "message": f"the loss is nan at step {number}"}
        change(job, error=error)
    assert told(folder)["unfinished"] == (
        " | 6 failed, 2 missing of 12 jobs | 6 jobs failed (optim.lr 9.0): TrainingError: the loss "
        f"is nan at step 3; see {folder / 'none_9.0_seed0' / 'run.log'}"
    )


@pytest.mark.parametrize(
    "result", [{"rmse": math.inf}, {"rmse": 1.0}, {"odd": 1.0}, "failed", "missing"]
)
@pytest.mark.parametrize("seeds", [[0], [0, 1]])
@pytest.mark.parametrize("variants", [["none"], ["none", "l2"]])
def test_any_plan_has_a_conclusion(
    result: Metrics, seeds: list[int], variants: list[str], tmp_path: Path
) -> None:
    part = {"better": {"variant": "none"}, "than": {"variant": "l2"}, "metric": "test/rmse"}
    metrics = ["test/odd"] if isinstance(result, dict) and "odd" in result else ["test/rmse"]
    more: dict[str, Any] = {"expect": [part], "baseline": {"variant": "none"}, "metrics": metrics}
    folder = write_plan(tmp_path / "p", lambda *_: result, variants=variants, seeds=seeds, **more)
    lines = told(folder)
    assert concluded(folder).outcome == "undecided"
    assert (result == "missing") == lines["best"].endswith("nothing is measured yet")
