"""Choose the best of some rows, and compare rows with one of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ablab.report.table.holm import Corrected, corrected
from ablab.report.table.paired import PairedDifference, paired_difference
from ablab.report.table.tables import ReportTable, comparable_rows


@dataclass(frozen=True)
class Against:
    """The paired difference of row ``row`` to row ``other``, corrected for its companions."""

    row: int
    other: int
    found: Corrected


def best_of(table: ReportTable, metric: str, indices: Sequence[int]) -> int | None:
    """Return the best of some rows; of several, one whose mean can be compared with others'."""
    finite = [
        index
        for index in indices
        if metric in table.rows[index].metrics
        and math.isfinite(table.rows[index].metrics[metric].mean)
    ]
    if len(indices) > 1:
        comparable = comparable_rows(table.rows, metric)
        finite = [index for index in finite if index in comparable]
    order = ranked(table, metric, finite)
    return order[0] if order and (len(indices) == 1 or metric in table.directions) else None


def ranked(table: ReportTable, metric: str, indices: Sequence[int]) -> list[int]:
    sign = -1 if table.directions.get(metric) == "max" else 1
    return sorted(indices, key=lambda index: sign * table.rows[index].metrics[metric].mean)


def all_against(
    table: ReportTable, metric: str, rows: Sequence[int], other: int | None
) -> tuple[Against, ...]:
    """Return the difference of each of ``rows`` to ``other``, corrected for their number."""
    if other is None:
        return ()
    found = {row: paired(table, metric, row, other) for row in rows if row != other}
    there = {row: difference for row, difference in found.items() if difference is not None}
    tested = corrected(list(there.values()), [0.0] * len(there))
    return tuple(Against(row, other, one) for row, one in zip(there, tested, strict=True))


def paired(table: ReportTable, metric: str, row: int, other: int) -> PairedDifference | None:
    ours, theirs = (table.rows[index].per_seed.get(metric, {}) for index in (row, other))
    return paired_difference(ours, theirs)
