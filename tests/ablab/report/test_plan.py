"""The report of a plan folder: who belongs to a row, what it is compared with, what is missing."""

import json
import math
import statistics
from pathlib import Path
from typing import Any

import pytest

from ablab.report.forms.cells import row_name
from ablab.report.forms.notes import failures_of, notes_of
from ablab.report.table.comparison import compare
from ablab.report.table.conclusion import conclude
from ablab.report.table.tables import build_table
from ablab.report.write import write_reports
from ablab.safety.folder_lock import locked
from tests.ablab.report.plan_folders import (
    LEVEL,
    Metrics,
    cells,
    change,
    config_of,
    rmse,
    table_of,
    write_job,
    write_plan,
)
from tests.permissions import permissions_that_hold


def test_a_row_for_each_variant_with_its_difference_and_the_best(tmp_path: Path) -> None:
    folder = write_plan(tmp_path / "p", rmse, variants=list(LEVEL), baseline={"variant": "none"})
    table = table_of(folder)
    assert cells(table, "variant") == ("none", "l2", "decoupled")
    assert cells(table, "test/rmse") == (
        "0.9600 ± 0.0100 (3)",
        "0.9300 ± 0.0100 (3)",
        "0.9100 ± 0.0100 (3)",
    )
    assert cells(table, "Δ test/rmse [95 %]")[0] == "baseline"
    assert cells(table, "Δ test/rmse [95 %]")[1].startswith("-0.0300 [-0.0300, -0.0300]")
    assert table.best == {"test/rmse": {2}}
    assert cells(table, "runs") == ("3", "3", "3")
    assert cells(table, "s / run") == ("3.6", "3.6", "3.6")
    assert cells(table, "hours") == ("0.003", "0.003", "0.003")


@pytest.mark.parametrize("mode", [0, 0o444])
def test_a_job_that_may_not_be_looked_into_is_unreadable(tmp_path: Path, mode: int) -> None:
    folder = write_plan(tmp_path / "p", rmse, variants=list(LEVEL), baseline={"variant": "none"})
    (folder / "l2_seed0").chmod(mode)
    with permissions_that_hold():
        write_reports(folder)
    (folder / "l2_seed0").chmod(0o755)
    told = "2 of 3: 1 unreadable"
    assert told in (folder / "report.md").read_text()
    assert told in (folder / "report.html").read_text()


def test_unfinished_jobs_are_told_and_cannot_be_best(tmp_path: Path) -> None:
    ends: dict[tuple[str | None, int], Metrics] = {
        ("l2", 1): "failed",
        ("l2", 2): "missing",
        ("decoupled", 0): "failed",
        ("decoupled", 1): "failed",
        ("decoupled", 2): "failed",
        ("late", 0): "planned",
        ("late", 1): "interrupted",
        ("late", 2): "running",
    }

    def result(variant: str | None, settings: dict[str, Any], seed: int) -> Metrics:
        return ends.get((variant, seed)) or {"rmse": {"none": 0.95, "l2": 0.8, "x": 1.0}[variant]}  # type: ignore[index]

    variants = ["none", "x", "l2", "decoupled", "late"]
    folder = write_plan(tmp_path / "p", result, variants=variants, baseline={"variant": "none"})
    with locked(folder / "late_seed2"):
        table = table_of(folder)
    assert cells(table, "test/rmse")[2:] == (
        "0.8000 (1 of 3)",
        "failed",
        "1 interrupted, 1 running, 1 planned",
    )
    assert cells(table, "runs")[2:4] == ("1 of 3: 1 failed, 1 missing", "0 of 3: 3 failed")
    assert cells(table, "Δ test/rmse [95 %]")[2:4] == ("-0.1500", "-")
    assert table.best == {"test/rmse": {0}}  # l2's only seed is not yet a mean
    assert cells(table_of(folder), "runs")[4] == "0 of 3: 1 interrupted, 1 killed, 1 planned"
    failures = failures_of(table.comparison.jobs)
    assert [failure.folder.name for failure in failures] == [
        "l2_seed1",
        *(f"decoupled_seed{seed}" for seed in range(3)),
    ]
    assert failures[0].error == "TrainingError: the loss is nan"  # its first line
    assert failures[0].log == folder / "l2_seed1" / "run.log"


@pytest.mark.parametrize(
    ("done", "best"),
    [
        ({"none": 3, "l2": 3}, {1}),
        ({"none": 3, "l2": 2}, set()),  # nothing to be better than
        ({"none": 2, "l2": 2}, {1}),  # so far
        ({"none": 2, "l2": 1}, set()),  # means over other seeds
    ],
)
def test_the_best_is_one_of_rows_that_can_be_compared(
    done: dict[str, int], best: set[int], tmp_path: Path
) -> None:
    def result(variant: str | None, settings: dict[str, Any], seed: int) -> Metrics:
        return rmse(variant, settings, seed) if seed < done[str(variant)] else "planned"

    folder = write_plan(tmp_path / "p", result, variants=["none", "l2"])
    assert table_of(folder).best == {"test/rmse": best}


def test_a_mean_over_some_of_the_folds_is_compared_with_none(tmp_path: Path) -> None:
    """Also where the plan excludes the others."""
    grid = [{"data.split": "u1"}, {"data.split": "u2"}]
    content = {"average": ["data.split"], "baseline": {"variant": "none"}}
    folder = write_plan(tmp_path / "p", rmse, variants=["none", "l2"], grid=grid, **content)
    plan = json.loads((folder / "plan.json").read_text())
    plan["jobs"] = [j for j in plan["jobs"] if (j["variant"], j["settings"]) != ("l2", grid[1])]
    (folder / "plan.json").write_text(json.dumps(plan))
    table = table_of(folder)
    assert table.rows[0].metrics["test/rmse"].n == 3
    assert (table.rows[1].metrics, table.differences[1]) == ({}, {})


def test_numbers_of_a_run_that_diverged_stay_short(tmp_path: Path) -> None:
    def result(variant: str | None, settings: dict[str, Any], seed: int) -> Metrics:
        return {"rmse": {"none": 0.9, "l2": math.nan, "decoupled": 1e30}[str(variant)]}

    variants = ["none", "l2", "decoupled"]
    folder = write_plan(tmp_path / "p", result, variants=variants, baseline={"variant": "none"})
    assert cells(table_of(folder), "Δ test/rmse [95 %]")[1] == "nan"
    assert cells(table_of(folder), "test/rmse")[2].startswith("1.000e+30 ± ")


def test_the_best_is_marked_by_the_direction_of_its_metric(tmp_path: Path) -> None:
    def result(variant: str | None, settings: dict[str, Any], seed: int) -> Metrics:
        return {"accuracy": 0.9 if variant == "none" else 0.8, "odd": float(variant == "none")}

    metrics = ["test/accuracy", "test/odd"]
    folder = write_plan(tmp_path / "p", result, variants=["none", "l2"], metrics=metrics)
    table = table_of(folder)
    assert table.best == {"test/accuracy": {0}, "test/odd": frozenset()}  # nobody knows of odd
    for path in folder.rglob("run.json"):  # of a version that did not record directions
        record = json.loads(path.read_text())
        del record["directions"]
        record["objective"] = {"metric": "accuracy", "mode": "min"}
        path.write_text(json.dumps(record))
    assert table_of(folder).best == {"test/accuracy": {1}, "test/odd": frozenset()}


def test_a_grid_is_compared_point_by_point(tmp_path: Path) -> None:
    def result(variant: str | None, settings: dict[str, Any], seed: int) -> Metrics:
        return {"rmse": settings["optim.lr"] + (0.1 if variant == "l2" else 0.0)}

    grid = [{"optim.lr": 0.01}, {"optim.lr": 0.1}]
    folder = write_plan(
        tmp_path / "p", result, variants=["none", "l2"], grid=grid, baseline={"variant": "none"}
    )
    assert table_of(folder).baselines == [0, 1, 0, 1]
    table = build_table(compare([folder], baseline={"variant": "none", "optim.lr": "1e-1"}))
    assert table.baselines == [1, 1, 1, 1]  # 1e-1 is 0.1
    assert [d["test/rmse"].mean for d in table.differences if d] == pytest.approx(
        [-0.09, 0.01, 0.1]
    )
    assert build_table(compare([folder], baseline={"optim.lr": "3"})).baselines == [None] * 4


def test_a_baseline_goes_by_any_of_its_names(tmp_path: Path) -> None:
    folder = write_plan(
        tmp_path / "p",
        rmse,
        variants=["none", "l2"],
        same_as={"none": ["zero"]},
        baseline={"variant": "zero"},
    )
    table = table_of(folder)
    assert cells(table, "variant") == ("none = zero", "l2")
    assert table.baselines == [0, 0]


def test_averaged_axes_are_no_rows_and_a_seed_needs_all_of_them(tmp_path: Path) -> None:
    def result(variant: str | None, settings: dict[str, Any], seed: int) -> Metrics:
        if seed == 2 and settings["data.split"] == "u2":
            return "failed"
        return {"rmse": 1.0 + 0.1 * seed + (0.5 if settings["data.split"] == "u2" else 0.0)}

    grid = [{"data.split": "u1"}, {"data.split": "u2"}]
    folder = write_plan(tmp_path / "p", result, grid=grid, average=["data.split"])
    table = table_of(folder)
    (row,) = table.rows
    assert row.variant == ()
    assert row.metrics["test/rmse"].mean == pytest.approx(1.3)
    assert row.metrics["test/rmse"].std == pytest.approx(statistics.stdev([1.25, 1.35]))
    assert cells(table, "test/rmse") == ("1.3000 ± 0.0707 (2 of 3)",)
    assert cells(table, "runs") == ("5 of 6: 1 failed",)
    assert "mean over data.split" in notes_of(table)[0]


def test_only_the_jobs_of_the_plan_count(tmp_path: Path) -> None:
    folder = write_plan(tmp_path / "p", rmse, variants=["none"])
    write_job(folder / "of_an_earlier_version", "none", {}, 7, {"rmse": 5.0})
    (row,) = table_of(folder).rows
    assert row.metrics["test/rmse"].n == 3
    assert {job.folder.name for job in compare([tmp_path]).jobs} == {
        f"none_seed{seed}" for seed in range(3)
    }


def test_two_plans_in_one_report_keep_their_variants_names(tmp_path: Path) -> None:
    for number, level in ((1, 0.1), (2, 0.2)):
        folder = write_plan(tmp_path / f"p{number}", rmse, variants=["none", "l2"])
        for job in folder.glob("*_seed*"):
            variant = job.name.partition("_")[0]
            plan = {"name": f"p{number}", "variant": variant, "settings": {}}
            config = config_of({"optim.lr": level * (1 + (variant == "l2"))}, int(job.name[-1]))
            change(job, plan=plan, config=config)
    both = build_table(compare([tmp_path / "p1", tmp_path / "p2"]))
    assert [dict(row.variant) for row in both.rows] == [
        {"plan": plan, "variant": variant} for plan in ("p1", "p2") for variant in ("l2", "none")
    ]
    assert row_name(both.rows[2]) == "p2, l2"
    assert len(conclude(both).standings[0].contestants) == 4
    # Where the runs of a variant differ in more than the seed, that is shown too.
    change(tmp_path / "p1" / "none_seed0", config=config_of({"optim.lr": 9.0}, 0))
    assert compare([tmp_path]).keys == ("plan", "variant", "optim.lr")


def test_more_than_one_commit_is_told(tmp_path: Path) -> None:
    folder = write_plan(tmp_path / "p", rmse, variants=["none"])
    assert not any("code" in note for note in notes_of(table_of(folder)))
    change(folder / "none_seed2", git={"commit": "b" * 40, "dirty": True})
    (told,) = (note for note in notes_of(table_of(folder)) if "code" in note)
    assert told == (
        "not all jobs ran on the same code: aaaaaaaaaa (2 jobs); "
        "bbbbbbbbbb, uncommitted changes (1 job)"
    )


def test_devices_are_counted_and_named(tmp_path: Path) -> None:
    folder = write_plan(tmp_path / "p", rmse, variants=["none"])
    change(folder / "none_seed2", device="cuda:0 x 4 (NVIDIA H100)")
    table = table_of(folder)
    assert cells(table, "hours") == ("0.003",)
    assert cells(table, "device-hours") == ("0.006",)
    assert notes_of(table)[-1] == "cost: 10.8 seconds, 21.6 device-seconds on cpu, NVIDIA H100"


def test_what_a_variant_changes_is_told_without_what_all_have(tmp_path: Path) -> None:
    folder = write_plan(tmp_path / "p", rmse, variants=["none", "l2"])
    for variant in ("none", "l2"):
        own = [] if variant == "none" else ["optim.weight_decay.mode=l2", "optim.lr=0.5"]
        for seed in (0, 1, 2):
            said = ["experiment=recipe", *own, f"seed={seed}"]
            change(folder / f"{variant}_seed{seed}", overrides=said)
    notes = notes_of(table_of(folder))
    assert "l2: optim.weight_decay.mode=l2 optim.lr=0.5" in notes
    assert not any(note.startswith("none:") or "experiment" in note for note in notes)


def test_the_time_of_a_run_is_without_the_imports_that_the_first_pays(tmp_path: Path) -> None:
    folder = write_plan(tmp_path / "p", rmse, variants=["none"], seeds=[0])
    change(folder / "none_seed0", seconds={"start": 4.4, "total": 6.4})
    assert cells(table_of(folder), "s / run") == ("2.0",)


def test_it_is_said_of_which_epoch_a_validation_metric_is(tmp_path: Path) -> None:
    folder = write_plan(tmp_path / "p", rmse, variants=["none", "l2"], metrics=["val/rmse"])
    assert "val/…: of each run's best epoch by val/rmse" in notes_of(table_of(folder))
    for name, epochs in (("none_seed0", 5), ("l2_seed0", 20)):
        change(folder / name, epochs=epochs)
    (note,) = [note for note in notes_of(table_of(folder)) if note.startswith("val/…")]
    assert note.endswith("; a run of 20 epochs has more to choose from than one of 5")
    only_tests = table_of(write_plan(tmp_path / "q", rmse, metrics=["test/rmse"]))
    assert not any("val/" in note for note in notes_of(only_tests))
