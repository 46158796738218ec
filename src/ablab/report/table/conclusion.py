"""What a table shows: the verdict on the claim, the best row, and what cannot be told apart.

It is computed once and shown by every form of a report. A variant of a grid counts by its best
setting, since that is what a claim is about.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ablab.report.table.baseline import rows_having
from ablab.report.table.comparison import as_shown, shown_value
from ablab.report.table.grid import finite_number
from ablab.report.table.holm import Corrected, corrected
from ablab.report.table.paired import PairedDifference, paired_difference
from ablab.report.table.plan_file import Expectation
from ablab.report.table.tables import ReportTable, best_rows, comparable_rows

Outcome = Literal["holds", "fails", "undecided"]


@dataclass(frozen=True)
class Against:
    """The paired difference of row ``row`` to row ``other``, corrected for its companions."""

    row: int
    other: int
    found: Corrected


@dataclass(frozen=True)
class Verdict:
    """What came out of a part of the claim; ``reason`` is why it could not be tested."""

    expectation: Expectation
    outcome: Outcome
    against: Against | None
    reason: str = ""


@dataclass(frozen=True)
class Edge:
    """A variant whose best setting is the first or last of three or more values on an axis."""

    row: int
    axis: str
    value: str
    largest: bool


@dataclass(frozen=True)
class Standing:
    """How the rows stand by one metric.

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


def conclude(table: ReportTable) -> Conclusion:
    """Return what the table shows; every part may be empty."""
    verdicts = _verdicts(table)
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
    chosen = [_best_of(table, metric, group) for group in groups]
    contestants = _ranked(table, metric, [index for index in chosen if index is not None])
    best = contestants[0] if best_rows([rows[i] for i in contestants], metric, direction) else None
    baseline = table.comparison.baseline
    reference = _best_of(table, metric, rows_having(rows, baseline)) if baseline else None
    return Standing(
        metric,
        direction,
        tuple(contestants),
        best,
        reference,
        _all_against(table, metric, contestants, reference),
        _all_against(table, metric, contestants, best),
        _edges(table, groups if len(groups) < len(rows) else [range(len(rows))], contestants),
    )


def _groups(table: ReportTable) -> list[list[int]]:
    """Return the rows of each variant (or name) of a grid; else each row by itself."""
    keys = table.comparison.keys
    name = next((key for key in ("variant", "name") if key in keys), None)
    groups: dict[str, list[int]] = {}
    for index, row in enumerate(table.rows):
        own = dict(row.variant)[name] if name and len(keys) > 1 else str(index)
        groups.setdefault(own, []).append(index)
    return list(groups.values())


def _best_of(table: ReportTable, metric: str, indices: Sequence[int]) -> int | None:
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
    ranked = _ranked(table, metric, finite)
    return ranked[0] if ranked and (len(indices) == 1 or metric in table.directions) else None


def _ranked(table: ReportTable, metric: str, indices: Sequence[int]) -> list[int]:
    sign = -1 if table.directions.get(metric) == "max" else 1
    return sorted(indices, key=lambda index: sign * table.rows[index].metrics[metric].mean)


def _all_against(
    table: ReportTable, metric: str, rows: Sequence[int], other: int | None
) -> tuple[Against, ...]:
    """Return the difference of each of ``rows`` to ``other``, corrected for their number."""
    if other is None:
        return ()
    found = {row: _paired(table, metric, row, other) for row in rows if row != other}
    there = {row: difference for row, difference in found.items() if difference is not None}
    tested = corrected(list(there.values()), [0.0] * len(there))
    return tuple(Against(row, other, one) for row, one in zip(there, tested, strict=True))


def _paired(table: ReportTable, metric: str, row: int, other: int) -> PairedDifference | None:
    ours, theirs = (table.rows[index].per_seed.get(metric, {}) for index in (row, other))
    return paired_difference(ours, theirs)


def _verdicts(table: ReportTable) -> tuple[Verdict, ...]:
    """Return the verdict on each part of the claim; all of them are corrected together."""
    plan = table.comparison.plan
    parts = plan.expect if plan else ()
    sides = [_sides(table, part) for part in parts]
    signs = [-1 if table.directions.get(part.metric) == "min" else 1 for part in parts]
    pairs = [
        _paired(table, part.metric, *side) if not isinstance(side, str) else None
        for part, side in zip(parts, sides, strict=True)
    ]
    there = [index for index, pair in enumerate(pairs) if pair is not None]
    tested = corrected(
        [pair for pair in pairs if pair is not None],
        [signs[index] * parts[index].by for index in there],
    )
    found = dict(zip(there, tested, strict=True))
    verdicts = []
    for index, (part, side) in enumerate(zip(parts, sides, strict=True)):
        if isinstance(side, str):
            verdicts.append(Verdict(part, "undecided", None, side))
        elif index not in found:
            verdicts.append(Verdict(part, "undecided", None, "the two have no seed in common"))
        else:
            against = Against(*side, found[index])
            verdicts.append(_verdict(part, against, signs[index]))
    return tuple(verdicts)


def _verdict(part: Expectation, against: Against, sign: int) -> Verdict:
    found = against.found
    if math.isnan(found.difference.mean):
        return Verdict(part, "undecided", against, "a run has diverged")
    if math.isnan(found.p):
        return Verdict(part, "undecided", against, "one seed has no interval")
    if not found.separable:
        return Verdict(part, "undecided", against)
    better = sign * found.difference.mean > part.by
    return Verdict(part, "holds" if better else "fails", against)


def _sides(table: ReportTable, part: Expectation) -> tuple[int, int] | str:
    """Return the rows that a part of the claim compares, or why there are none."""
    if part.metric not in table.directions:
        return f"it is not known whether {part.metric} should be low or high"
    sides = []
    for settings in (part.better, part.than):
        having = rows_having(table.rows, as_shown(settings))
        best = _best_of(table, part.metric, having)
        if best is None:
            return f"{named(settings)} {_why_none(table, part.metric, having)}"
        sides.append(best)
    if sides[0] == sides[1]:
        return "both are the same runs"
    return sides[0], sides[1]


def named(settings: Mapping[str, object]) -> str:
    """Return how a side of a comparison is called: ``l2``, or ``l2, lr 0.1``."""
    return ", ".join(
        shown_value(v) if k in ("variant", "name") else f"{k.rpartition('.')[2]} {shown_value(v)}"
        for k, v in settings.items()
    )


def _why_none(table: ReportTable, metric: str, having: Sequence[int]) -> str:
    if not having:
        return "is no row of this table"
    spreads = [table.rows[i].metrics[metric] for i in having if metric in table.rows[i].metrics]
    if not spreads:
        return f"has no {metric}"
    if any(math.isfinite(spread.mean) for spread in spreads):
        return "has no setting with every seed"
    return "has diverged"


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
            if None in tried or len(numbers) < 3 or axis in ("variant", "name"):
                continue
            if float(value) in (numbers[0], numbers[-1]):
                edges.append(Edge(own, axis, value, float(value) == numbers[-1]))
    return tuple(edges)
