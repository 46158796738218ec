"""Split rows into parts for training, for validation and for the test."""

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


def split_rows(
    n_rows: int,
    *,
    test_fraction: float,
    validation_fraction: float,
    seed: int,
    last: bool = False,
) -> dict[str, Indices]:
    """Return the row numbers of "train", "val" and "test"; no "val" for a fraction of 0.

    Args:
        n_rows: the number of all rows.
        test_fraction: the share of all rows that becomes "test".
        validation_fraction: the share of the other rows that becomes "val".
        seed: draws the test and validation rows.
        last: take the last rows instead of drawing them.
    """
    train, test = hold_out(np.arange(n_rows), test_fraction, seed, last=last)
    return with_validation(train, test, validation_fraction, seed, last=last)


def with_validation(
    train: Indices, test: Indices, fraction: float, seed: int, *, last: bool = False
) -> dict[str, Indices]:
    """Return the parts "train", "val" and "test"; ``fraction`` of the training rows become "val".

    A fraction of 0 gives no part "val".
    """
    if fraction == 0:
        return {"train": train, "test": test}
    train, val = hold_out(train, fraction, seed, last=last)
    return {"train": train, "val": val, "test": test}


def hold_out(
    rows: Indices, fraction: float, seed: int, *, last: bool = False
) -> tuple[Indices, Indices]:
    """Return ``rows`` without the held-out ones, and these: ``round(fraction * len(rows))`` rows.

    They are drawn by ``seed``, or are the last ones. Both arrays keep the order of ``rows``.
    """
    number = round(fraction * len(rows))
    if last:
        return rows[: len(rows) - number], rows[len(rows) - number :]
    held = np.zeros(len(rows), dtype=bool)
    held[np.random.default_rng(seed).permutation(len(rows))[:number]] = True
    return rows[~held], rows[held]


def split_fold(
    labels: Indices,
    *,
    n_folds: int,
    fold: int,
    validation_fraction: float,
    seed: int,
    last: bool = False,
) -> dict[str, Indices]:
    """Return the parts of which "test" is number ``fold`` (from 0) of ``n_folds`` equal parts.

    Args:
        labels: the class of each row; each part has an equal share of every class.
        n_folds, fold: the test part.
        validation_fraction: the share of the other rows that becomes "val".
        seed: draws the parts, and the validation rows.
        last: take blocks of rows instead of drawing them, and the last rows as "val".
    """
    if last:
        folds = np.arange(len(labels)) * n_folds // len(labels)
    else:
        folds = stratified_folds(labels, n_folds, seed) - 1
    train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
    return with_validation(train, test, validation_fraction, seed, last=last)


def stratified_folds(labels: Indices, n_folds: int, seed: int) -> Indices:
    """Return the fold of each row, 1 to ``n_folds``; each has an equal share of every class."""
    random = np.random.default_rng(seed)
    folds = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        rows = random.permutation(np.flatnonzero(labels == label))
        folds[rows] = np.arange(len(rows)) % n_folds + 1
    return folds
