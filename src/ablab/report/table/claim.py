"""Test the parts of a plan's claim, each side at its best setting."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ablab.config.suggestions import suggestion
from ablab.report.table.baseline import rows_having
from ablab.report.table.comparison import NAMES, as_shown, measured, shown_value
from ablab.report.table.contest import Against, best_of, paired
from ablab.report.table.holm import corrected
from ablab.report.table.plan_file import Expectation
from ablab.report.table.tables import ReportTable

Outcome = Literal["holds", "fails", "undecided"]


@dataclass(frozen=True)
class Verdict:
    """The result of a part of the claim; ``reason`` is why it could not be tested."""

    expectation: Expectation
    outcome: Outcome
    against: Against | None
    reason: str = ""


def verdicts_of(table: ReportTable) -> tuple[Verdict, ...]:
    """Return the verdict on each part of the claim; all of them are corrected together."""
    plan = table.comparison.plan
    parts = plan.expect if plan else ()
    sides = [_sides(table, part) for part in parts]
    signs = [-1 if table.directions.get(part.metric) == "min" else 1 for part in parts]
    pairs = [
        paired(table, part.metric, *side) if not isinstance(side, str) else None
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
    records = [job.record for job in table.comparison.jobs if job.record is not None]
    logged = sorted({metric for record in records for metric in measured(record)})
    if part.metric not in logged:
        return f"no run has logged '{part.metric}'{suggestion(part.metric, logged)}"
    if part.metric not in table.directions:
        return (
            f"it is not known whether {part.metric} should be low or high: set "
            f"higher_is_better in the metric's class"
        )
    sides = []
    for settings in (part.better, part.than):
        having = rows_having(table.rows, as_shown(settings))
        best = best_of(table, part.metric, having)
        if best is None:
            return f"{named(settings)} {_why_none(table, part.metric, having)}"
        sides.append(best)
    if sides[0] == sides[1]:
        return "both are the same runs"
    return sides[0], sides[1]


def named(settings: Mapping[str, object]) -> str:
    """Return how a side of a comparison is called: ``l2``, or ``l2, lr 0.1``."""
    return ", ".join(
        shown_value(v) if k in NAMES else f"{k.rpartition('.')[2]} {shown_value(v)}"
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
