"""Split rows into parts for training, for choosing, and for the test."""

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


def hold_out(rows: Indices, fraction: float, seed: int) -> tuple[Indices, Indices]:
    """Draw ``round(fraction * len)`` of ``rows``; return the others and the drawn, in row order."""
    drawn = np.random.default_rng(seed).permutation(len(rows))[: round(fraction * len(rows))]
    held = np.zeros(len(rows), dtype=bool)
    held[drawn] = True
    return rows[~held], rows[held]


def stratified_folds(labels: Indices, n_folds: int, seed: int) -> Indices:
    """Return the fold, 1 to ``n_folds``, of each row; folds have equal shares of every class."""
    random = np.random.default_rng(seed)
    folds = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        rows = random.permutation(np.flatnonzero(labels == label))
        folds[rows] = np.arange(len(rows)) % n_folds + 1
    return folds
