"""Targets of a table that are classes or several numbers, folds, and rows of another file."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ablab.data.splits import split_fold
from ablab.data.tables.own_file import Table
from ablab.errors import ConfigError, DataError

ROWS = 60


def table(**changed: Any) -> pl.DataFrame:
    columns = {
        "kind": [("oak", "elm", "ash")[i % 3] for i in range(ROWS)],
        "height": [float(i % 7) for i in range(ROWS)],
        "old": [i % 5 == 0 for i in range(ROWS)],
        "rings": [i % 4 for i in range(ROWS)],
    }
    return pl.DataFrame({**columns, **changed})


def read(folder: Path, frame: pl.DataFrame, **arguments: Any) -> Table:
    frame.write_csv(folder / "trees.csv")
    split = {"split": "random", "test_fraction": 0.2, "validation_fraction": 0.1}
    data = Table(path=str(folder / "trees.csv"), **{**split, **arguments})
    data.setup("fit")
    return data


def test_words_are_classes_in_ascending_order(tmp_path: Path) -> None:
    data = read(tmp_path, table(), target="kind")
    assert data.sizes["n_classes"] == 3
    assert data.class_names(3) == ["ash", "elm", "oak"]
    for part, rows in data.rows.items():
        named = [data.class_names(3)[label] for label in data.parts[part][-1]]
        assert named == data.table["kind"][rows].to_list()
    right = (data.parts["test"][-1] == data.parts["train"][-1].mode().values).double().mean()
    assert data.baselines() == {"most frequent": {"accuracy": pytest.approx(float(right))}}
    columns = data.prediction_columns(torch.tensor([[0.1, 0.7, 0.2]]))
    assert columns["prediction"] == ["elm"]


@pytest.mark.parametrize(
    ("target", "names"), [("old", ["false", "true"]), ("rings", ["0", "1", "2", "3"])]
)
def test_booleans_and_chosen_integers_are_classes(
    target: str, names: list[str], tmp_path: Path
) -> None:
    data = read(tmp_path, table(), target=target, target_kind="class")
    assert data.class_names(len(names)) == names
    assert "n_classes" not in read(tmp_path, table(), target="rings").sizes


def test_several_targets_are_columns_of_numbers(tmp_path: Path) -> None:
    data = read(tmp_path, table(), target=["height", "rings"])
    assert data.sizes["n_targets"] == 2
    assert data.sizes["n_categories"] == [4, 3]  # neither target is an input
    rows = data.table["height", "rings"][data.rows["test"]].to_numpy()
    assert torch.equal(data.parts["test"][-1], torch.tensor(rows, dtype=torch.float32))
    error = rows - data.table["height", "rings"][data.rows["train"]].to_numpy().mean(axis=0)
    assert data.baselines()["mean"]["rmse"] == pytest.approx(np.sqrt(np.mean(error**2)))
    columns = data.prediction_columns(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert columns == {"prediction_height": [1.0, 3.0], "prediction_rings": [2.0, 4.0]}


@given(st.integers(4, 200), st.integers(2, 6), st.integers(0, 2**31), st.booleans())
def test_each_row_is_tested_in_one_fold(rows: int, n_folds: int, seed: int, last: bool) -> None:
    labels = np.arange(rows) % 3
    folds = [
        split_fold(labels, n_folds=n_folds, fold=k, validation_fraction=0.2, seed=seed, last=last)
        for k in range(n_folds)
    ]
    assert sorted(np.concatenate([fold["test"] for fold in folds])) == list(range(rows))
    for fold in folds:
        assert sorted(np.concatenate(list(fold.values()))) == list(range(rows))
        if not last:
            shares = [int(np.sum(labels[fold["test"]] == c)) for c in range(3)]
            assert max(shares) - min(shares) <= 1


def test_a_fold_is_the_test_part(tmp_path: Path) -> None:
    data = read(tmp_path, table(), target="kind", folds=5, fold=4)
    assert {name: len(rows) for name, rows in data.rows.items()} == {
        "train": 43,
        "val": 5,
        "test": 12,
    }
    assert "fold 4 of 5" in data.summary()
    with pytest.raises(ConfigError, match=r"data\.fold: should be below data\.folds=5"):
        read(tmp_path, table(), target="kind", folds=5, fold=5)
    with pytest.raises(ConfigError, match=r"needs data\.folds"):
        read(tmp_path, table(), target="kind", fold=2)


def test_rows_of_another_file_are_encoded_as_the_training_rows_were(tmp_path: Path) -> None:
    data = read(tmp_path, table(), target="kind", validation_fraction=0.0)
    new = tmp_path / "new.csv"
    new.write_text("rings,old,height,who\n3,true,2,a\n9,FALSE,,b\n2.5,,1e1,c\n")
    data.predict_from(new)
    (categories, continuous, _) = next(iter(data.predict_dataloader()))
    known = data.table.select("rings", "old").unique(maintain_order=True)
    assert data.encoder.categorical_names == ["old", "rings"]
    assert categories.tolist() == [[2, 4], [1, 0], [0, 0]]  # 0 is unknown or missing
    mean, std = data.encoder.continuous["height"]
    assert continuous[:, 0].tolist() == pytest.approx([(2 - mean) / std, 0, (10 - mean) / std])
    assert list(data.test_table()) == ["rings", "old", "height", "who"]
    assert len(known) > 0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rings,old\n1,true\n", "new.csv lacks the column 'height'"),
        ("rings,old,height\n1,true,tall\n", "row 1 has 'tall', which is not a number"),
        ("rings,old,height\n1,maybe,2\n", "row 1 has 'maybe', which is not true or false"),
        ("rings,old,height\n", "has no rows"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(text: str, told: str, tmp_path: Path) -> None:
    data = read(tmp_path, table(), target="kind")
    (tmp_path / "new.csv").write_text(text)
    with pytest.raises(DataError, match=told):
        data.predict_from(tmp_path / "new.csv")


@pytest.mark.parametrize(
    ("changed", "target", "told"),
    [
        ({"kind": ["oak", None] * 30}, "kind", "target of row 2 is missing; 30 of 60"),
        ({"kind": [f"tree {i}" for i in range(ROWS)]}, "kind", "different in every row"),
        ({}, ["height", "kind"], "this target is to be a number"),
        ({}, ["height", "width"], "has no column 'width'"),
    ],
)
def test_a_target_that_cannot_be_learned_is_refused(
    changed: dict[str, Any], target: Any, told: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=told):
        read(tmp_path, table(**changed), target=target)
