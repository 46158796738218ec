"""Parts of rows: each row once, drawn by a seed, equal shares of classes in folds."""

import numpy as np
import pytest

from ablab.data.splits import hold_out, split_rows, stratified_folds


@pytest.mark.parametrize("last", [False, True])
def test_parts_have_every_row_once(last: bool) -> None:
    rows = split_rows(103, last=last, test_fraction=0.2, validation_fraction=0.1, seed=1)
    assert [len(rows[part]) for part in ("train", "val", "test")] == [74, 8, 21]
    assert np.array_equal(np.sort(np.concatenate([*rows.values()])), np.arange(103))
    assert (rows["test"].tolist() == list(range(82, 103))) == last
    assert (rows["val"].tolist() == list(range(74, 82))) == last
    without = split_rows(103, last=last, test_fraction=0.2, validation_fraction=0, seed=1)
    assert list(without) == ["train", "test"]
    assert np.array_equal(without["test"], rows["test"])


def test_held_out_rows_are_drawn_by_the_seed() -> None:
    rows = np.arange(100, 200)
    kept, held = hold_out(rows, 0.25, seed=1)
    assert len(held) == 25
    assert sorted([*kept, *held]) == rows.tolist()
    assert np.array_equal(held, hold_out(rows, 0.25, seed=1)[1])
    assert not np.array_equal(held, hold_out(rows, 0.25, seed=2)[1])


def test_folds_are_drawn_by_the_seed_and_have_equal_shares_of_uneven_classes() -> None:
    labels = np.random.default_rng(0).choice(3, 1000, p=[0.7, 0.2, 0.1])
    folds = stratified_folds(labels, 5, seed=1)
    for label in range(3):
        counts = np.bincount(folds[labels == label], minlength=6)[1:]
        assert counts.max() - counts.min() <= 1
    assert np.array_equal(folds, stratified_folds(labels, 5, seed=1))
    assert not np.array_equal(folds, stratified_folds(labels, 5, seed=2))
