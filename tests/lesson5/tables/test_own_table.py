"""A file of one's own from training to the predictions of new rows, through the command line."""

from pathlib import Path

import polars as pl
import pytest
import torch

import ablab
from ablab.runs.record import RunRecord
from tests.launch import launch

ALWAYS = ["data=table", "model=entity_embedding", "trainer.accelerator=cpu", "logger=csv"]
ROWS = 90


@pytest.fixture
def flats(tmp_path: Path) -> str:
    rows = range(ROWS)
    columns = {
        "district": [("north", "south", "west")[i % 3] for i in rows],
        "area": [20.0 + i * 7 % 60 for i in rows],
        "rent": [300.0 + i * 13 % 800 for i in rows],
    }
    pl.DataFrame(columns).write_csv(tmp_path / "flats.csv")
    return f"data.path={tmp_path / 'flats.csv'}"


def test_new_rows_are_predicted_by_the_run_of_a_fold(flats: str, tmp_path: Path) -> None:
    run, new = tmp_path / "run", tmp_path / "new.csv"
    target = ["data.target=district", "objective=classification"]
    folds = ["data.folds=3", "data.fold=1", "trainer.max_epochs=1"]
    launch([*ALWAYS, *target, *folds, flats], run)
    assert RunRecord.read(run).data_parts["test"]["rows"] == ROWS // 3
    new.write_text("note,rent,area\nfirst,300,25\nsecond,,1e1\n")
    launch(["task=predict", f"run={run}", f"data.path={new}"], run)
    predicted = pl.read_csv(run / "predictions_new.csv")
    assert predicted["note"].to_list() == ["first", "second"]
    model, data = ablab.load(run)
    data.predict_from(new)
    with torch.no_grad():
        probability, label = model(*data.parts["new"][:-1]).softmax(dim=1).max(dim=1)
    assert predicted["prediction"].to_list() == [data.class_names(3)[i] for i in label]
    assert predicted["probability"].to_list() == pytest.approx(probability.tolist())
    assert not (run / "predictions.csv").exists()


def test_several_targets_are_predicted_each(flats: str, tmp_path: Path) -> None:
    targets = ["data.target=[rent,area]", "objective=regression", "trainer.max_epochs=1"]
    launch([*ALWAYS, *targets, flats], tmp_path / "run")
    launch(["task=predict", f"run={tmp_path / 'run'}"], tmp_path / "run")
    predicted = pl.read_csv(tmp_path / "run" / "predictions.csv")
    errors = torch.cat(
        [
            (predicted[f"prediction_{name}"] - predicted[name]).to_torch()
            for name in ("rent", "area")
        ]
    )
    rmse = float(errors.square().mean().sqrt())
    assert RunRecord.read(tmp_path / "run").metrics["test"]["rmse"] == pytest.approx(rmse, rel=1e-5)
