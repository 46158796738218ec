"""Means and spreads over seeds, from records alone; what is unfinished is counted, not averaged."""

import json
import math
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ablab.errors import RunFolderError, UserError
from ablab.report.table.collect import collect, varying_keys
from ablab.report.table.comparison import compare
from ablab.report.table.rows import Spread, summarise
from ablab.report.table.tables import build_table
from ablab.runs.find import newest_run
from ablab.runs.record import RunRecord


def record_run(
    folder: Path, settings: dict[str, Any], rmse: float | None, status: str = "done"
) -> None:
    config = {
        "name": settings.get("name", "n"),
        "seed": settings.get("seed", 0),
        "seeds": {"split": 42, "init": settings.get("seed", 0), "order": settings.get("seed", 0)},
        "data": {"root": str(folder), "split": settings.get("split", "u1")},
        "optim": {"lr": settings.get("lr", 0.1)},
        "objective": {"metric": "rmse", "mode": "min"},
        "paths": {"runs": str(folder), "data": str(folder)},
    }
    record = RunRecord.planned(config, [])
    record.begin()
    record.status = status  # type: ignore[assignment]
    if rmse is not None:
        record.metrics["test"] = {"rmse": rmse, "loss": rmse**2}
    folder.mkdir(parents=True)
    record.write(folder)


def test_a_row_for_each_variant_over_its_seeds(tmp_path: Path) -> None:
    values = {0.1: [0.9, 0.92, 0.95], 0.2: [0.8, 0.85]}
    for lr, rmses in values.items():
        for seed, rmse in enumerate(rmses):
            record_run(tmp_path / f"{lr}" / str(seed), {"lr": lr, "seed": seed}, rmse)
    record_run(tmp_path / "crashed", {"lr": 0.2, "seed": 9}, None, "failed")
    record_run(tmp_path / "half", {"lr": 0.2, "seed": 8}, 0.1, "interrupted")
    assert varying_keys(collect([tmp_path])) == ["optim.lr"]  # neither seeds nor folders
    first, second = summarise(compare([tmp_path]))
    assert (first.variant, second.variant) == ((("optim.lr", "0.1"),), (("optim.lr", "0.2"),))
    spread = first.metrics["test/rmse"]
    assert spread == Spread(statistics.fmean(values[0.1]), statistics.stdev(values[0.1]), 3)
    assert second.metrics["test/rmse"].n == 2
    assert second.statuses == {"done": 2, "failed": 1, "interrupted": 1}
    assert (first.complete("test/rmse"), second.complete("test/rmse")) == (True, False)


def test_folds_are_averaged_before_the_spread_over_seeds(tmp_path: Path) -> None:
    rmse = {("u1", 0): 0.90, ("u2", 0): 0.80, ("u1", 1): 0.92, ("u2", 1): 0.82, ("u1", 2): 0.5}
    for (split, seed), value in rmse.items():
        record_run(tmp_path / f"{split}{seed}", {"split": split, "seed": seed}, value)
    (row,) = summarise(compare([tmp_path], average=["data.split"]))
    spread = row.metrics["test/rmse"]
    assert spread.n == 2  # seed 2 lacks a fold
    assert spread.mean == pytest.approx(0.86)
    assert spread.std == pytest.approx(statistics.stdev([0.85, 0.87]))


def test_runs_of_any_folders_are_compared_by_name(tmp_path: Path) -> None:
    """Each with the baseline's run of the same settings, or with the only one that it has."""
    for name, lr in (("a", 0.1), ("b", 0.1), ("b", 0.2), ("c", 0.2)):
        for seed in range(2):
            settings = {"name": name, "lr": lr, "seed": seed}
            record_run(tmp_path / name / f"{lr}" / str(seed), settings, lr + seed)
    folders = [tmp_path / name for name in "abc"]
    table = build_table(compare(folders, baseline={"name": "a"}))
    assert [dict(row.variant)["optim.lr"] for row in table.rows] == ["0.1", "0.1", "0.2", "0.2"]
    assert table.baselines == [0, 0, 0, 0]
    assert table.differences[3]["test/rmse"].mean == pytest.approx(0.1)
    assert build_table(compare(folders, baseline={"name": "b"})).baselines == [1, 1, 2, 2]
    assert table.directions == {"test/rmse": "min"}  # by the objective
    assert table.best["test/rmse"] == {0, 1}


def test_a_run_in_two_of_the_folders_is_one_run(tmp_path: Path) -> None:
    for name in "ab":
        record_run(tmp_path / name, {}, 1.0)
    assert len(collect([tmp_path, tmp_path / "a", tmp_path / "b" / ".." / "b"])) == 2


def test_runs_behind_links_are_found_once_and_by_their_own_path(tmp_path: Path) -> None:
    runs, elsewhere = tmp_path / "runs", tmp_path / "elsewhere"
    record_run(runs / "own", {}, 1.0)
    record_run(elsewhere / "linked", {}, 1.0)
    (runs / "a").symlink_to(runs / "own")
    (runs / "there").symlink_to(elsewhere)
    (runs / "there_too").symlink_to(elsewhere)
    (runs / "loop").symlink_to(runs)
    (elsewhere / "back").symlink_to(runs)
    (runs / "gone").symlink_to(tmp_path / "nothing")
    found = [run.folder for run in collect([runs])]
    assert found == [runs / "own", runs / "there" / "linked"]


def test_the_newest_run_may_be_behind_a_link(tmp_path: Path) -> None:
    for path, ended in (("runs/old", "2026-01-01"), ("elsewhere/new", "2026-02-01")):
        record_run(tmp_path / path, {}, 1.0)
        record = RunRecord.read(tmp_path / path)
        record.ended = ended
        record.write(tmp_path / path)
    (tmp_path / "runs" / "there").symlink_to(tmp_path / "elsewhere")
    assert newest_run(tmp_path / "runs") == tmp_path / "runs" / "there" / "new"


@pytest.mark.parametrize(
    ("seeds", "best"),
    [
        ([range(5), (1, 3, 7), (8, 9)], set()),
        ([range(5), range(5), (8, 9)], set()),
        ([range(5), range(5), range(3)], {0}),  # the third is lower, but over fewer seeds
        ([range(2), range(2), range(2)], {2}),
    ],
)
def test_the_best_of_any_runs_has_the_seeds_of_the_others(
    seeds: list[Sequence[int]], best: set[int], tmp_path: Path
) -> None:
    for lr, own in zip((0.2, 0.3, 0.4), seeds, strict=True):
        for seed in own:
            rmse = {0.2: 0.8, 0.3: 0.9, 0.4: 0.1}[lr]
            record_run(tmp_path / f"{lr}_{seed}", {"lr": lr, "seed": seed}, rmse)
    assert build_table(compare([tmp_path])).best == {"test/rmse": best}


@pytest.mark.parametrize(
    "asked", [{"average": ["data.spilt"]}, {"metrics": ["test/rmsee"]}, {"metrics": ["rmse"]}]
)
def test_what_no_run_has_is_told(asked: dict[str, list[str]], tmp_path: Path) -> None:
    record_run(tmp_path / "a", {}, 1.0)
    with pytest.raises(
        UserError,
        match=r"^(no run has measured|cannot average over) '(data\.spilt|test/rmsee|rmse)'",
    ):
        compare([tmp_path], **asked)  # type: ignore[arg-type]


def test_one_value_has_no_spread() -> None:
    spread = Spread.of([0.5])
    assert (spread.mean, spread.n) == (0.5, 1)
    assert math.isnan(spread.std)
    for diverged in ([math.inf, 1.0], [math.nan], [math.inf, -math.inf]):
        assert math.isnan(Spread.of(diverged).mean)


def test_jobs_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (10, 9, 2, 100):
        record_run(tmp_path / str(number), {"lr": float(number)}, 1.0)
    assert [run.folder.name for run in collect([tmp_path])] == ["2", "9", "10", "100"]


def test_what_is_no_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="no such folder"):
        collect([tmp_path / "none"])
    with pytest.raises(RunFolderError, match=r"no run\.json under"):
        collect([tmp_path])
    record_run(tmp_path / "run", {}, 1.0)
    whole = (tmp_path / "run" / "run.json").read_text()
    (tmp_path / "run" / "run.json").write_text(whole[: len(whole) // 2])
    shown = subprocess.run(
        [sys.executable, "-m", "ablab.report", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 2
    assert shown.stderr.startswith(f"error: {tmp_path}/run/run.json: is not a run record")


def test_a_record_read_back_is_the_one_written(tmp_path: Path) -> None:
    record_run(tmp_path / "run", {"seed": 3}, 0.9)
    record = RunRecord.read(tmp_path / "run")
    record.write(tmp_path)
    assert json.loads((tmp_path / "run.json").read_text()) == json.loads(
        (tmp_path / "run" / "run.json").read_text()
    )
    assert record.seeds["seed"] == 3
