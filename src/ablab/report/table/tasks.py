"""Statistics over the tasks or splits that a plan averages over, after Agarwal et al. 2021.

A mean over tasks hides how the tasks agree, and one task with a large spread can decide it. The
interquartile mean, the probability of improvement and the performance profile (arXiv 2108.13264,
package rliable) take every run of every task as a score. Their intervals are a bootstrap's that
draws the runs of each task anew (stratified), always with the same draws.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from ablab.report.table.comparison import Variant
from ablab.report.table.paired import CONFIDENCE
from ablab.report.table.rows import value_of
from ablab.report.table.tables import ReportTable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Scores = list[NDArray[np.float64]]  # the runs of each task

_DRAWS = 2000
_MOST_APART = 2.0  # of the medians of two tasks; beyond it, one scale would drown the other


@dataclass(frozen=True)
class Estimate:
    """A number and its bootstrap interval, nan if a task has a single run."""

    value: float
    low: float
    high: float


NO_ESTIMATE = Estimate(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class AcrossTasks:
    """The rows that have runs of every task, by a metric.

    ``medians`` are the least and the greatest of the tasks' medians. If they are far apart, scores
    are ``relative``: each is divided by the mean of the row's baseline on the same task. Where
    that cannot be, ``iqm`` has nan. ``better`` is the probability that a run of the row beats one
    of its baseline on the same task; ties count half.
    """

    metric: str
    tasks: int
    runs: int
    medians: tuple[float, float]
    relative: bool
    iqm: dict[int, Estimate]
    better: dict[int, Estimate]


def across_tasks(table: ReportTable) -> list[AcrossTasks]:
    """Return the statistics of each metric with a direction; none without several tasks."""
    tasks = {job.part for job in table.comparison.jobs}
    if not table.comparison.average or len(tasks) < 2:
        return []
    found = []
    for metric in table.comparison.metrics:
        scores = scores_of(table, metric)
        if metric not in table.directions or not scores:
            continue
        sign = -1 if table.directions[metric] == "min" else 1
        better = {
            index: probability_of_improvement(
                [sign * runs for runs in own], [sign * runs for runs in scores[baseline]]
            )
            for index, own in scores.items()
            if (baseline := table.baselines[index]) in scores and baseline != index
        }
        pooled, relative = poolable(table, scores)
        iqm = {i: interquartile_mean(pooled[i]) if i in pooled else NO_ESTIMATE for i in scores}
        runs = max(len(own) for of_row in scores.values() for own in of_row)
        middle = medians(scores)
        found.append(AcrossTasks(metric, len(tasks), runs, middle, relative, iqm, better))
    return found


def medians(scores: "Mapping[int, Scores]") -> tuple[float, float]:
    """Return the least and the greatest median of a task's absolute scores, over all rows."""
    import numpy as np

    tasks = zip(*scores.values(), strict=True)
    found = [float(np.median(np.abs(np.concatenate(runs)))) for runs in tasks]
    return min(found), max(found)


def poolable(
    table: ReportTable, scores: "Mapping[int, Scores]"
) -> "tuple[dict[int, Scores], bool]":
    """Return scores that may be sorted together, and whether they are relative to baselines.

    An interquartile mean of errors of 0.9 and of 28 would be that of some tasks alone.
    """
    least, greatest = medians(scores)
    if greatest <= _MOST_APART * least or greatest == 0:
        return dict(scores), False
    relative: dict[int, Scores] = {}
    for index, own in scores.items():
        baseline = table.baselines[index]
        of_baseline = [] if baseline is None else scores.get(baseline, [])
        units = [float(runs.mean()) for runs in of_baseline]
        if units and min(units) > 0:
            relative[index] = [runs / unit for runs, unit in zip(own, units, strict=True)]
    return relative, bool(relative)


def scores_of(table: ReportTable, metric: str) -> "dict[int, Scores]":
    """Return the scores of each task, one a seed, for the rows that have all of them.

    A row that lacks a run has none, since the tasks of the others would weigh more in it.
    """
    import numpy as np  # imported here, since it takes a tenth of a second

    runs: dict[Variant, dict[str, dict[str, list[float]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    tasks = dict.fromkeys(job.part for job in table.comparison.jobs)
    for job in table.comparison.jobs:
        value = value_of(job, metric)
        if value is not None:
            runs[job.variant][job.part][job.seed].append(value)  # a seed that ran twice is one
    scores = {
        index: [
            np.array([fmean(values) for values in runs[row.variant][task].values()])
            for task in tasks
        ]
        for index, row in enumerate(table.rows)
        if row.complete(metric)
    }
    return {i: own for i, own in scores.items() if all(np.isfinite(task).all() for task in own)}


def interquartile_mean(scores: "Scores") -> Estimate:
    """Return the mean of the middle half of all runs of all tasks."""
    import numpy as np

    def middle(values: "NDArray[np.float64]") -> "NDArray[np.float64]":
        cut = values.shape[-1] // 4
        return np.sort(values)[..., cut : values.shape[-1] - cut].mean(axis=-1)

    drawn = middle(np.concatenate(_drawn(scores, np.random.default_rng(0)), axis=-1))
    return _estimate(float(middle(np.concatenate(scores))), drawn, scores)


def probability_of_improvement(ours: "Scores", theirs: "Scores") -> Estimate:
    """Return the mean over tasks of P(a run of ours is higher than one of theirs)."""
    import numpy as np

    def above(x: "NDArray[np.float64]", y: "NDArray[np.float64]") -> "NDArray[np.float64]":
        difference = x[..., :, None] - y[..., None, :]
        return (0.5 * (1 + np.sign(difference))).mean(axis=(-2, -1))

    random = np.random.default_rng(0)
    pairs = zip(_drawn(ours, random), _drawn(theirs, random), strict=True)
    drawn = np.mean([above(x, y) for x, y in pairs], axis=0)
    value = np.mean([above(x, y) for x, y in zip(ours, theirs, strict=True)])
    return _estimate(float(value), drawn, [*ours, *theirs])


def performance_profile(
    scores: "Scores", thresholds: Sequence[float], *, lower: bool
) -> "NDArray[np.float64]":
    """Return value, low and high of the share of runs that are better than each threshold.

    Every task has the same weight. ``lower``: lower scores are better.
    """
    import numpy as np

    at = np.asarray(thresholds)

    def share(runs: "NDArray[np.float64]") -> "NDArray[np.float64]":
        beaten = runs[..., None] < at if lower else runs[..., None] > at
        return beaten.mean(axis=-2)

    drawn = np.mean([share(runs) for runs in _drawn(scores, np.random.default_rng(0))], axis=0)
    value = np.mean([share(runs) for runs in scores], axis=0)
    if min(map(len, scores)) < 2:
        return np.stack([value, value, value])  # A single run has no interval to draw.
    return np.stack([value, *np.quantile(drawn, _ends(), axis=0)])


def _drawn(scores: "Scores", random: "np.random.Generator") -> "list[NDArray[np.float64]]":
    return [runs[random.integers(len(runs), size=(_DRAWS, len(runs)))] for runs in scores]


def _estimate(value: float, drawn: "NDArray[np.float64]", scores: "Scores") -> Estimate:
    import numpy as np

    if min(map(len, scores)) < 2:
        return Estimate(value, math.nan, math.nan)
    low, high = np.quantile(drawn, _ends())
    return Estimate(value, float(low), float(high))


def _ends() -> tuple[float, float]:
    return (1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2
