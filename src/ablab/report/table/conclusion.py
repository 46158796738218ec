"""Conclude from a table: the verdict on the claim, the best row, and rows that are as good.

It is computed once and shown by every form of a report. A variant of a grid counts by its best
setting, since that is what a claim is about.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from ablab.report.table.baseline import rows_having
from ablab.report.table.claim import Outcome, Verdict, verdicts_of
from ablab.report.table.comparison import NAMES
from ablab.report.table.contest import Against, all_against, best_of, ranked
from ablab.report.table.grid import finite_number
from ablab.report.table.tables import ReportTable, best_rows


@dataclass(frozen=True)
class Edge:
    """A variant whose best setting is the first or last of three or more values on an axis."""

    row: int
    axis: str
    value: str
    largest: bool


@dataclass(frozen=True)
class Standing:
    """The order of the rows by one metric.

    ``contestants`` are all rows, or the best row of each variant of a grid, the best first.
    ``reference`` is the baseline's, ``against`` holds the others' differences to it, ``to_best``
    those to the best.
    """

    metric: str
    direction: str
    contestants: tuple[int, ...]
    best: int | None
    reference: int | None
    against: tuple[Against, ...]
    to_best: tuple[Against, ...]
    edges: tuple[Edge, ...]

    @property
    def near(self) -> tuple[Against, ...]:
        """The differences of those that cannot be told from the best."""
        return tuple(found for found in self.to_best if not found.found.separable)

    @property
    def drawn(self) -> tuple[Against, ...]:
        """The differences to the baseline; without one, those to the best."""
        return self.to_best if self.reference is None else self.against

    @property
    def best_against_reference(self) -> Against | None:
        return next((found for found in self.against if found.row == self.best), None)


@dataclass(frozen=True)
class Conclusion:
    """The verdicts on the claim, and a standing for each metric whose direction is known."""

    outcome: Outcome | None
    verdicts: tuple[Verdict, ...]
    standings: tuple[Standing, ...]


@functools.lru_cache(maxsize=1)  # Each form of a report, and parts of it, ask for the same.
def conclude(table: ReportTable) -> Conclusion:
    """Return what the table shows; every part may be empty."""
    verdicts = verdicts_of(table)
    outcomes = {verdict.outcome for verdict in verdicts}
    order: tuple[Outcome, ...] = ("fails", "undecided", "holds")
    # What the claim is about comes first.
    claimed = [verdict.expectation.metric for verdict in verdicts]
    shown = dict.fromkeys((*claimed, *table.comparison.metrics))
    metrics = [metric for metric in shown if metric in table.directions]
    return Conclusion(
        next((outcome for outcome in order if outcome in outcomes), None),
        verdicts,
        tuple(_standing(table, metric) for metric in metrics),
    )


def _standing(table: ReportTable, metric: str) -> Standing:
    rows, direction = table.rows, table.directions[metric]
    groups = _groups(table)
    chosen = [best_of(table, metric, group) for group in groups]
    contestants = ranked(table, metric, [index for index in chosen if index is not None])
    best = contestants[0] if best_rows([rows[i] for i in contestants], metric, direction) else None
    baseline = table.comparison.baseline
    reference = best_of(table, metric, rows_having(rows, baseline)) if baseline else None
    return Standing(
        metric,
        direction,
        tuple(contestants),
        best,
        reference,
        all_against(table, metric, contestants, reference),
        all_against(table, metric, contestants, best),
        _edges(table, groups if len(groups) < len(rows) else [range(len(rows))], contestants),
    )


def _groups(table: ReportTable) -> list[list[int]]:
    """Return the rows of each variant (or name) of a grid; else each row by itself."""
    keys = table.comparison.keys
    names = [key for key in NAMES if key in keys]
    groups: dict[tuple[str, ...], list[int]] = {}
    for index, row in enumerate(table.rows):
        values = dict(row.variant)
        own = tuple(values[key] for key in names) if 0 < len(names) < len(keys) else (str(index),)
        groups.setdefault(own, []).append(index)
    return list(groups.values())


def _edges(
    table: ReportTable, groups: Sequence[Sequence[int]], best: Sequence[int]
) -> tuple[Edge, ...]:
    """Return where the best of a group lies on the edge of the values that the group has tried."""
    edges = []
    for group in groups:
        own = next((index for index in best if index in group), None)
        if own is None:
            continue
        for axis, value in table.rows[own].variant:
            tried = [finite_number(dict(table.rows[index].variant)[axis]) for index in group]
            numbers = sorted({number for number in tried if number is not None})
            if None in tried or len(numbers) < 3 or axis in NAMES:
                continue
            if float(value) in (numbers[0], numbers[-1]):
                edges.append(Edge(own, axis, value, float(value) == numbers[-1]))
    return tuple(edges)
