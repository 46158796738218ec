"""The conclusion of a report as sentences, the same on a terminal, in Markdown and on the page."""

import math
from collections import Counter
from dataclasses import dataclass

from ablab.report.forms.cells import decimals, number, row_name, shown_statuses
from ablab.report.forms.notes import failure_groups
from ablab.report.table.baseline import rows_having
from ablab.report.table.claim import Verdict, named
from ablab.report.table.comparison import NAMES, as_shown
from ablab.report.table.conclusion import Conclusion, Standing
from ablab.report.table.contest import Against
from ablab.report.table.tables import ReportTable
from ablab.report.table.tasks import Estimate, across_tasks

_MOST_NAMES = 8


@dataclass(frozen=True)
class Line:
    """A heading, a sentence, and what belongs below it; ``mark`` is the outcome of a claim."""

    label: str
    text: str
    below: tuple[str, ...] = ()
    mark: str = ""


def conclusion_lines(table: ReportTable, conclusion: Conclusion) -> list[Line]:
    """Return the lines in the order in which they are read; the first is the claim, if any."""
    lines = _claim(table, conclusion)
    if conclusion.standings:
        first, *others = conclusion.standings
        lines += [_best(table, first), *_near(table, first), *_each(table, first)]
        lines += [*_edges(table, first), *_across_tasks(table, first)]
        if others:
            told = "; ".join(f"by {s.metric}: {_name(table, s.best)}" for s in others)
            lines.append(Line("other metrics", told))
    elif table.comparison.metrics:
        told = f"no run says whether {', '.join(table.comparison.metrics)} should be low or high"
        if not any(row.metrics for row in table.rows):
            told = "nothing is measured yet"
        lines.append(Line("best", f"not known: {told}"))
    return [*lines, *_jobs(table), *_origin(table)]


def difference_text(table: ReportTable, metric: str, against: Against) -> str:
    """Return a corrected difference, ``-0.0385 [-0.0409, -0.0361]``, and how many seeds it has."""
    found, digits = against.found, decimals(table.rows, metric)
    mean = number(found.difference.mean, digits, "+")
    n = found.difference.n
    seeds = f"{n} seed{'s' if n > 1 else ''}"
    if math.isnan(found.p):
        return f"{mean} ({seeds}, so no interval)"
    low, high = number(found.low, digits, "+"), number(found.high, digits, "+")
    return f"{mean} [{low}, {high}] ({seeds})"


def expectation_text(verdict: Verdict) -> str:
    """Return what a part of a claim says: ``l2 better than none by 0.01 in test/rmse``."""
    part = verdict.expectation
    better, than = named(part.better), named(part.than)
    if part.by < 0:
        return f"{better} worse than {than} by less than {-part.by:g} in {part.metric}"
    by = f" by {part.by:g}" if part.by else ""
    return f"{better} better than {than}{by} in {part.metric}"


def _claim(table: ReportTable, conclusion: Conclusion) -> list[Line]:
    plan = table.comparison.plan
    if plan is None or not (plan.claim or conclusion.verdicts):
        return []
    below = [
        f"{expectation_text(verdict)}: {verdict.outcome}{_evidence(table, verdict)}"
        for verdict in conclusion.verdicts
    ]
    text = plan.claim or "see below"
    if conclusion.outcome is None:
        return [Line("claim", text)]
    if len(below) > 1:
        below.append(f"intervals are corrected for {len(below)} comparisons (Holm)")
    return [Line("claim", text, tuple(below), conclusion.outcome)]


def _evidence(table: ReportTable, verdict: Verdict) -> str:
    against, reason = verdict.against, verdict.reason
    if against is None or (reason and math.isnan(against.found.difference.mean)):
        return f", {reason}"
    told = f", {difference_text(table, verdict.expectation.metric, against)}"
    if reason:
        told += f", {reason}"
    if verdict.outcome == "undecided":
        told += _seeds(against)
    sides = (verdict.expectation.better, verdict.expectation.than)
    if any(len(rows_having(table.rows, as_shown(side))) > 1 for side in sides):  # it had a choice
        told += f"; {_name(table, against.row)} against {_name(table, against.other)}"
    return told


def _seeds(against: Against) -> str:
    """Return how many seeds would tell two rows apart; empty if they differ by nothing."""
    found = against.found
    if math.isnan(found.p) or found.difference.std == 0:
        return ""
    if found.seeds is None:
        return "; at this difference and spread, even 1,000 seeds would not tell"
    return f"; at this difference and spread, {found.seeds} seeds would tell"


def _best(table: ReportTable, standing: Standing) -> Line:
    metric, best = standing.metric, standing.best
    if best is None:
        having = len(standing.contestants)
        told = "fewer than two rows have a mean" if having < 2 else "no rows have the same seeds"
        return Line("best", f"none by {metric} so far: {told}")
    spread, digits = table.rows[best].metrics[metric], decimals(table.rows, metric)
    told = f"{_name(table, best)}: {metric} {number(spread.mean, digits)}"
    if not math.isnan(spread.std):
        told += f" ± {number(spread.std, digits)}"
    told += f" ({'lower' if standing.direction == 'min' else 'higher'} is better)"
    if best == standing.reference:
        return Line("best", f"{told}; it is the baseline")
    against = standing.best_against_reference
    if against is not None:
        told += f"; against {_name(table, against.other)} {difference_text(table, metric, against)}"
        tests = sum(not math.isnan(one.found.p) for one in standing.against)
        if tests > 1:
            told += f", corrected for {tests} comparisons (Holm)"
        if not against.found.separable:
            told += f", which does not tell them apart{_seeds(against)}"
    return Line("best", told)


def _near(table: ReportTable, standing: Standing) -> list[Line]:
    if standing.best is None:
        return []
    near = standing.near
    if not near:
        return [Line("as good", "none: every other one is separable from the best")]
    if all(found.found.difference.n == 1 for found in standing.to_best):
        return [Line("as good", "one seed has no interval, so no row can be told from the best")]
    names = [_name(table, found.row) for found in near]
    shown = ", ".join(names[:_MOST_NAMES])
    if len(names) > _MOST_NAMES:
        shown += f" and {len(names) - _MOST_NAMES} more"
    close = min(near, key=lambda found: abs(found.found.difference.mean))
    found = difference_text(table, standing.metric, close)
    told = f"not separable from the best: {shown}; {_name(table, close.row)} {found}{_seeds(close)}"
    return [Line("as good", told)]


def _each(table: ReportTable, standing: Standing) -> list[Line]:
    """Return the best setting of each variant, if a variant has several."""
    keys = [key for key in table.comparison.keys if key not in NAMES]
    if not keys or len(standing.contestants) in (0, len(table.rows)):
        return []
    digits = decimals(table.rows, standing.metric)
    below = [
        f"{_name(table, index)}: {number(table.rows[index].metrics[standing.metric].mean, digits)}"
        for index in standing.contestants
    ]
    told = f"each variant at its best {', '.join(keys)}, chosen and compared on the same seeds"
    return [Line("by variant", told, tuple(below))]


def _edges(table: ReportTable, standing: Standing) -> list[Line]:
    below = [
        f"{_name(table, edge.row)}: {edge.axis} {edge.value} is the "
        f"{'largest' if edge.largest else 'smallest'} tried"
        for edge in standing.edges
    ]
    if not below:
        return []
    return [Line("on the edge", "the best may lie beyond: extend the grid", tuple(below))]


def _across_tasks(table: ReportTable, standing: Standing) -> list[Line]:
    """Return interquartile means and probabilities of improvement, if a plan has several tasks."""
    found = next((one for one in across_tasks(table) if one.metric == standing.metric), None)
    if found is None:
        return []
    digits = decimals(table.rows, standing.metric)
    shown = [index for index in standing.contestants if index in found.iqm][:_MOST_NAMES]
    below = []
    for index in shown:
        parts = []
        if not math.isnan(found.iqm[index].value):
            parts.append(_estimate_text(found.iqm[index], 4 if found.relative else digits))
        if index in found.better:
            chance = _estimate_text(found.better[index], 2)
            other = _name(table, table.baselines[index])
            parts.append(f"better than {other} with probability {chance}")
        if parts:
            below.append(f"{_name(table, index)}: {'; '.join(parts)}")
    settings = ", ".join(table.comparison.average)
    told = (
        f"interquartile mean of {standing.metric} over {found.tasks} values of {settings} × "
        f"{found.runs} seed{'s'[: found.runs - 1]}, and stratified bootstrap intervals (95 %)"
    )
    if found.relative or all(math.isnan(iqm.value) for iqm in found.iqm.values()):
        least, greatest = (f"{value:.3g}" for value in found.medians)
        apart = (
            f"the medians of {standing.metric} lie between {least} and {greatest}, so a plain mean "
            f"over {settings} is that of the largest"
        )
        told = f"{told}; {apart}, and scores are divided by the baseline's mean on the same one"
        if not found.relative:
            told = (
                f"no interquartile mean of {standing.metric}: {apart}; it takes a baseline with "
                f"runs and a positive mean on each"
            )
    return [Line("across tasks", told, tuple(below))]


def _estimate_text(found: Estimate, digits: int) -> str:
    if math.isnan(found.low):
        return number(found.value, digits)
    low, high = number(found.low, digits), number(found.high, digits)
    return f"{number(found.value, digits)} [{low}, {high}]"


def _jobs(table: ReportTable) -> list[Line]:
    jobs = table.comparison.jobs
    unfinished = shown_statuses(Counter(job.status for job in jobs))
    if not unfinished:
        return []
    groups = failure_groups(jobs)
    below = [f"{group.text}; see {group.log}" for group in groups[:_MOST_NAMES]]
    if len(groups) > _MOST_NAMES:
        below.append(f"and {len(groups) - _MOST_NAMES} more kinds of failure")
    return [Line("unfinished", f"{unfinished} of {len(jobs)} jobs", tuple(below))]


def _origin(table: ReportTable) -> list[Line]:
    plan, jobs = table.comparison.plan, table.comparison.jobs
    records = [job.record for job in jobs if job.record is not None]
    commits = {str(r.git.get("commit") or "unknown")[:10] for r in records if r.started}
    ended = max((record.ended for record in records if record.ended), default=None)
    parts = [f"{len(jobs)} jobs"] if jobs else []
    if ended:
        parts.append(f"the last ended {ended[:16].replace('T', ' ')} UTC")
    if commits:
        parts.append(f"commit {commits.pop()}" if len(commits) == 1 else f"{len(commits)} commits")
    below = (plan.command,) if plan and plan.command else ()
    return [Line("ran", ", ".join(parts), below)] if parts else []


def _name(table: ReportTable, index: int | None) -> str:
    return "none" if index is None else (row_name(table.rows[index]) or "all runs")
