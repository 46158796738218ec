"""How a run was trained, read back from what it reported."""

import csv
from pathlib import Path

import polars as pl
import pytest
from numpy.testing import assert_allclose

from ablab.errors import RunFolderError
from ablab.interpret.training_curves import beginnings, draw_curves, history, training_curves
from ablab.optim.schedules import lr, momentum
from ablab.runs.find import saved_config
from ablab.runs.record import RunRecord
from ablab.training.phases import plan_phases
from tests.launch import TINY, launch


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    launch([*TINY, "data.validation_fraction=0.2", "trainer.log_every_n_steps=1"], folder)
    return folder


def panel(run: Path, name: str):
    figure = training_curves(run).figures["training_curves"]
    (axes,) = (axes for axes in figure.axes if axes.get_ylabel() == name)
    return {line.get_label(): line.get_xydata() for line in axes.lines}


def test_learning_rate_and_momentum_are_those_of_the_schedule(run: Path) -> None:
    config = saved_config(run)
    schedule = plan_phases(config)[0].schedule
    (rates,) = panel(run, "learning rate").values()
    total = len(rates)
    assert list(rates[:, 0]) == list(range(1, total + 1))
    expected = [lr(schedule, step, total, config.optim.lr) for step in range(total)]
    assert_allclose(rates[:, 1], expected, rtol=1e-6)
    (momenta,) = panel(run, "momentum").values()
    assert_allclose(momenta[:, 1], [momentum(schedule, step, total) for step in range(total)])


def test_losses_are_those_of_the_history(run: Path) -> None:
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    losses = panel(run, "loss")
    for name in ("train/loss", "val/loss"):
        reported = [(float(row["step"]), float(row[name])) for row in rows if row[name]]
        assert_allclose(losses[name], reported)
    assert len(panel(run, "val/rmse")["val/rmse"]) == 3  # epochs


def test_what_was_not_reported_is_missing_and_not_zero(run: Path) -> None:
    table = history(run)
    assert table["val/rmse"].null_count() == len(table) - 3
    assert draw_curves(table.select("step", "val/rmse"), "only this").axes[0].lines


def test_a_run_without_history_says_what_keeps_one(run: Path, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes((run / "run.json").read_bytes())
    with pytest.raises(RunFolderError, match="logger=csv"):
        training_curves(tmp_path)


@pytest.mark.parametrize(
    ("epochs", "steps"), [(3, {"head": 0, "all": 4}), (2, {})], ids=["whole", "stopped early"]
)
def test_phases_are_marked_where_they_begin(run: Path, epochs: int, steps: dict[str, int]) -> None:
    table = pl.DataFrame({"step": [2, 4, 6, 8, 10, 12], "epoch": [0.0, 0.0, 1.0, 1.0, 2.0, 2.0]})
    record = RunRecord.read(run)
    record.config["phases"] = {"head": {"epochs": 1}, "all": {"epochs": 2}}
    record.epochs = epochs
    assert beginnings(table, record) == steps
