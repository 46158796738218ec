"""The table of a report: variants × metrics, differences to a baseline, the best rows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ablab.config.metric_names import without_stage
from ablab.report.table.baseline import pair_with_baselines
from ablab.report.table.comparison import Comparison
from ablab.report.table.paired import Interval, PairedDifference, paired_difference
from ablab.report.table.rows import ReportRow, summarise
from ablab.runs.record import RunRecord


@dataclass(frozen=True, eq=False)
class ReportTable:
    """The rows of a comparison and what follows from them; a table equals itself alone.

    ``baselines`` has for each row the index of the row it is compared with, ``differences`` for
    each row the differences by metric, ``best`` for each metric the indices of the best rows. A
    metric without a known direction (``min``, ``max``) has no best row.
    """

    comparison: Comparison
    rows: list[ReportRow]
    directions: dict[str, str]
    baselines: list[int | None]
    differences: list[dict[str, PairedDifference]]
    best: dict[str, frozenset[int]]
    interval: Interval


def build_table(comparison: Comparison, interval: Interval = "student") -> ReportTable:
    """Summarise a comparison over seeds; ``interval`` is that of the differences."""
    rows = summarise(comparison)
    known = directions(comparison)
    baselines = pair_with_baselines(rows, comparison.baseline)
    differences: list[dict[str, PairedDifference]] = []
    for index, (row, baseline) in enumerate(zip(rows, baselines, strict=True)):
        found = {
            metric: paired_difference(values, rows[baseline].per_seed.get(metric, {}), interval)
            for metric, values in row.per_seed.items()
            if baseline not in (None, index)
        }
        differences.append({metric: value for metric, value in found.items() if value is not None})
    return ReportTable(
        comparison=comparison,
        rows=rows,
        directions=known,
        baselines=baselines,
        differences=differences,
        best={m: best_rows(rows, m, known.get(m)) for m in comparison.metrics},
        interval=interval,
    )


def directions(comparison: Comparison) -> dict[str, str]:
    """Return ``min`` or ``max`` for each metric on whose direction all records agree."""
    found: dict[str, str] = {}
    records = [job.record for job in comparison.jobs if job.record is not None]
    for metric in comparison.measured:
        said = {_direction(record, without_stage(metric)) for record in records} - {None}
        if len(said) == 1:
            found[metric] = str(said.pop())
    return found


def best_rows(rows: Sequence[ReportRow], metric: str, direction: str | None) -> frozenset[int]:
    """Return the indices of the best mean, all of them in a tie.

    There are none among fewer than two comparable rows, or for a metric without direction.
    """
    means = {index: rows[index].metrics[metric].mean for index in comparable_rows(rows, metric)}
    if direction is None or len(means) < 2:
        return frozenset()
    best = min(means.values()) if direction == "min" else max(means.values())
    return frozenset(index for index, mean in means.items() if mean == best)


def comparable_rows(rows: Sequence[ReportRow], metric: str) -> frozenset[int]:
    """Return the indices of the rows whose means are over the same seeds, so that one can be best.

    If some rows have every seed that any row has, the others are left out: the mean of the seeds
    that did not fail is too good. If no row has all of its seeds, all rows must have the same ones.
    """
    seeds = {
        index: frozenset(row.per_seed[metric])
        for index, row in enumerate(rows)
        if metric in row.metrics and math.isfinite(row.metrics[metric].mean)
    }
    everyone = frozenset[str]().union(*seeds.values())
    complete = {i for i, own in seeds.items() if own == everyone and rows[i].complete(metric)}
    if not complete and len(set(seeds.values())) == 1:
        return frozenset(seeds)
    return frozenset(complete)


def _direction(record: RunRecord, short: str) -> str | None:
    metric = short if short in record.directions else short.partition("/")[0]
    if metric in record.directions:
        return record.directions[metric]
    return record.objective["mode"] if record.objective["metric"] == short else None
