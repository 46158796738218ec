"""How the valley of a grid over two settings lies: along an axis, or across both.

Loshchilov & Hutter 2019 (Decoupled Weight Decay Regularization), Figure 2: with L2 in the gradient
the basin of good settings is diagonal in log learning rate and log weight decay, with decoupled
decay it follows the axes. Two numbers say so: the slope of the best y over x, and how much of the
metric's variation inside the basin no sum of a function of x and one of y explains.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ablab.report.table.paired import CONFIDENCE

Array = NDArray[np.float64]
_BASIN = 0.05
_RESAMPLES = 2000


@dataclass(frozen=True)
class Slope:
    """Of log(best y) on log(x) over ``points`` values of x, with an interval over seeds.

    At ``on_edge`` of them the best y is the first or last of the grid, and the true one may lie
    beyond. The interval is nan with fewer than two seeds.
    """

    value: float
    low: float
    high: float
    points: int
    on_edge: int


def valley_slope(x: Sequence[float], y: Sequence[float], values: Array, mode: str) -> Slope | None:
    """Slope of the line through (log x, log of the y with the best mean), by least squares.

    The interval is the percentile bootstrap's over seeds (the same resamples each time): of few
    seeds it is too narrow.

    Args:
        x, y: positive values of the axes, [X] and [Y].
        values: the metric, [seeds, X, Y]; nan where a job has none.
        mode: ``min`` or ``max``, what is best.

    Returns:
        None where fewer than three values of x have a best among two or more values of y.
    """
    log_x, log_y = np.log(x), np.log(y)
    seeds = len(values)
    best = _best_y(values, np.ones((1, seeds)), mode)[0]  # [X], -1 where there is none
    known = best >= 0
    if known.sum() < 3:
        return None
    value = _slopes(log_x, log_y, best[None])[0]
    low = high = np.nan
    if seeds > 1:
        drawn = np.random.default_rng(0).integers(seeds, size=(_RESAMPLES, seeds))
        weights = (drawn[:, :, None] == np.arange(seeds)).sum(1)  # [resamples, seeds]
        slopes = _slopes(log_x, log_y, _best_y(values, weights.astype(float), mode))
        tail = 100 * (1 - CONFIDENCE) / 2
        low, high = np.nanpercentile(slopes, [tail, 100 - tail])
    order = np.argsort(y)
    on_edge = np.isin(best[known], (order[0], order[-1])).sum()
    return Slope(float(value), float(low), float(high), int(known.sum()), int(on_edge))


def interaction_share(means: Array, mode: str) -> tuple[float | None, int]:
    """Share of the variation of log(metric) inside the basin that is interaction of x and y.

    The two-way table of the cells within 5 % of the best is fitted with an effect a row and one a
    column (least squares, so cells may be missing); the share is what that leaves of the sum of
    squares about the mean: 0 where the metric is a product f(x) g(y).

    Args:
        means: the metric's means over seeds, [X, Y]; nan where there is none.

    Returns:
        The share and the number of cells in the basin. The share is None where the cells do not
        determine it, or the metric is not positive.
    """
    finite = means[np.isfinite(means)]
    if not len(finite) or finite.min() <= 0:
        return None, 0
    logs = np.log(means)
    best = np.nanmin(logs) if mode == "min" else np.nanmax(logs)
    rows, columns = np.nonzero(np.abs(logs - best) <= np.log1p(_BASIN))  # False for nan
    cells = len(rows)
    effects = np.zeros((cells, sum(means.shape)))
    effects[np.arange(cells), rows] = 1
    effects[np.arange(cells), means.shape[0] + columns] = 1
    inside = logs[rows, columns]
    total = float(((inside - inside.mean()) ** 2).sum())
    fitted, _, rank, _ = np.linalg.lstsq(effects, inside, rcond=None)
    if rank >= cells or total == 0:
        return None, cells
    return float(((inside - effects @ fitted) ** 2).sum()) / total, cells


def mean_over_seeds(values: Array) -> Array:
    """[seeds, X, Y] -> [X, Y], over the seeds that each cell has."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Mean of empty slice")
        return np.nanmean(values, axis=0)


def _best_y(values: Array, weights: Array, mode: str) -> NDArray[np.int64]:
    """Index of the best y for each x, [resamples, X]; -1 with fewer than two cells to choose from.

    Args:
        weights: how often each seed counts, [resamples, seeds].
    """
    there = np.isfinite(values)
    sums = np.tensordot(weights, np.where(there, values, 0.0), 1)  # [resamples, X, Y]
    counts = np.tensordot(weights, there.astype(float), 1)
    worst = np.inf if mode == "min" else -np.inf
    means = np.where(counts > 0, sums / np.maximum(counts, 1.0), worst)
    best = means.argmin(2) if mode == "min" else means.argmax(2)
    return np.where((counts > 0).sum(2) >= 2, best, -1)


def _slopes(log_x: Array, log_y: Array, best: NDArray[np.int64]) -> Array:
    """Least-squares slopes, one a resample; nan where fewer than two values of x have a best y."""
    known = (best >= 0).astype(float)  # [resamples, X]
    n = known.sum(1)
    chosen = log_y[np.maximum(best, 0)]
    enough = np.where(n >= 2, n, np.nan)
    dx = (log_x - (known @ log_x / enough)[:, None]) * known
    return (dx * chosen).sum(1) / (dx**2).sum(1)
