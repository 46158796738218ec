"""``python -m lesson5.ratings.valley FOLDER``: the shape of the valley in a grid of two settings.

Loshchilov & Hutter 2019 (Decoupled Weight Decay Regularization), Figure 2: with L2 in the gradient
the basin of good settings is diagonal in log learning rate and log weight decay; with decoupled
decay it is parallel to the axes. Two numbers measure this: the slope of the best decay over the
rate, and the share of the metric's variation in the basin that no sum of a function of the rate and
one of the decay explains.
"""

import argparse
import math
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ablab.errors import UserError
from ablab.report.table.comparison import compare
from ablab.report.table.grid import Group, grouped, numeric_axes
from ablab.report.table.paired import CONFIDENCE
from ablab.report.table.tables import ReportTable, build_table
from ablab.safety.commands import as_command
from ablab.safety.printable import printable

Array = NDArray[np.float64]
_BASIN = 0.05  # relative distance from the best metric
_RESAMPLES = 2000


@dataclass(frozen=True)
class Slope:
    """The slope of log(best y) on log(x) over ``points`` values of x, with an interval over seeds.

    At ``on_edge`` of them the best y is the first or last of the grid, so the true optimum may lie
    outside. The interval is nan with fewer than two seeds.
    """

    value: float
    low: float
    high: float
    points: int
    on_edge: int


@as_command
def main(arguments: list[str]) -> int:
    """Print a line for each metric and variant of a plan; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m lesson5.ratings.valley",
        description="Print how the best weight decay depends on the learning rate in a plan with "
        "a grid of both, such as ablation=adamw_heatmap.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the plan's folder")
    options = parser.parse_args(arguments)
    lines = valley_lines(build_table(compare([options.folder])))
    if not lines:
        raise UserError(
            f"{options.folder}: no grid of three or more positive values on each of two axes"
        )
    for line in lines:
        print(printable(line))  # noqa: T201
    return 0


def valley_lines(table: ReportTable) -> list[str]:
    """Return a line for each metric and variant; none without two numeric axes.

    Only positive values of an axis count, since the scales are logarithmic.
    """
    axes = numeric_axes(table)[:2]
    if len(axes) < 2:
        return []
    lines = []
    for metric, mode in table.directions.items():
        for group in grouped(table, axes):
            x, y = ([value for value in group.axis(i) if value > 0] for i in (0, 1))
            values = values_on_grid(group, x, y, metric)
            if len(x) < 3 or len(y) < 3 or not len(values):
                continue
            parts = []
            slope = valley_slope(x, y, values, mode)
            if slope is not None:
                parts.append(f"best {axes[1]} ∝ {axes[0]}^{_exponent(slope)}")
            share, cells = interaction_share(mean_over_seeds(values), mode)
            if share is not None:
                parts.append(
                    f"{100 * share:.0f} % of the variation of log {metric} in the {cells} cells "
                    f"within {100 * _BASIN:.0f} % of the best is interaction"
                )
            if parts:
                lines.append(
                    f"{group.name or table.comparison.title}, {metric}: {'; '.join(parts)}"
                )
    return lines


def _exponent(slope: Slope) -> str:
    interval = "" if math.isnan(slope.low) else f" [{_short(slope.low)}, {_short(slope.high)}]"
    edge = f"{slope.on_edge} of {slope.points} optima lie on the grid's edge"
    hint = ", so extend the grid" if slope.on_edge else ""
    return f"{_short(slope.value)}{interval} ({edge}{hint})"


def _short(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}"  # the sum turns -0.0 into 0.0


def values_on_grid(group: Group, x: Sequence[float], y: Sequence[float], metric: str) -> Array:
    """Return the metric as [seeds, X, Y], nan in a cell that lacks a seed; no seeds without values.

    The mean of the seeds that did not fail would be too good to compare with the cell's neighbours.
    """
    seeds = list(
        dict.fromkeys(seed for row in group.rows.values() for seed in row.per_seed.get(metric, {}))
    )
    values = np.full((len(seeds), len(x), len(y)), np.nan)
    for (at_x, at_y), row in group.rows.items():
        if at_x in x and at_y in y:
            for seed, value in row.per_seed.get(metric, {}).items():
                values[seeds.index(seed), x.index(at_x), y.index(at_y)] = value
    values[:, ~np.isfinite(values).all(axis=0)] = np.nan
    return values


def valley_slope(x: Sequence[float], y: Sequence[float], values: Array, mode: str) -> Slope | None:
    """Return the least-squares slope of the line through (log x, log of the y with the best mean).

    The interval is a percentile bootstrap over seeds (the same resamples each time); with few seeds
    it is too narrow.

    Args:
        x, y: positive values of the axes, [X] and [Y].
        values: the metric, [seeds, X, Y]; nan where a job has none.
        mode: ``min`` or ``max``, which of the metric's values is best.

    Returns:
        The slope, or None if fewer than three values of x have two or more values of y.
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
    """Return the share of the variation of log(metric) in the basin that is interaction of x and y.

    The cells within 5 % of the best are fitted by least squares with one effect for each x and one
    for each y (cells may be missing). The share is the part of the sum of squares about the mean
    that this fit leaves: 0 for a metric that is a product f(x) g(y).

    Args:
        means: the metric's means over seeds, [X, Y]; nan where there is none.
        mode: ``min`` or ``max``, which of the metric's values is best.

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
    """Average [seeds, X, Y] to [X, Y], over the seeds that each cell has."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Mean of empty slice")
        return np.nanmean(values, axis=0)


def _best_y(values: Array, weights: Array, mode: str) -> NDArray[np.int64]:
    """Return the index of the best y for each x, [resamples, X]; -1 if x has fewer than two cells.

    Args:
        values: the metric, [seeds, X, Y].
        weights: how often each seed counts, [resamples, seeds].
        mode: ``min`` or ``max``.
    """
    there = np.isfinite(values)
    sums = np.tensordot(weights, np.where(there, values, 0.0), 1)  # [resamples, X, Y]
    counts = np.tensordot(weights, there.astype(float), 1)
    worst = np.inf if mode == "min" else -np.inf
    means = np.where(counts > 0, sums / np.maximum(counts, 1.0), worst)
    best = means.argmin(2) if mode == "min" else means.argmax(2)
    return np.where((counts > 0).sum(2) >= 2, best, -1)


def _slopes(log_x: Array, log_y: Array, best: NDArray[np.int64]) -> Array:
    """Return a slope for each resample; nan if fewer than two values of x have a best y."""
    known = (best >= 0).astype(float)  # [resamples, X]
    n = known.sum(1)
    chosen = log_y[np.maximum(best, 0)]
    enough = np.where(n >= 2, n, np.nan)
    dx = (log_x - (known @ log_x / enough)[:, None]) * known
    return (dx * chosen).sum(1) / (dx**2).sum(1)


if __name__ == "__main__":
    sys.exit(main())
