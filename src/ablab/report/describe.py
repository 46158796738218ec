"""Make the documents of a table, of two runs, or of the jobs of a plan."""

from collections import Counter
from pathlib import Path

from ablab.report.differences import config_differences, metric_differences
from ablab.report.documents import (
    SCHEMA_VERSION,
    AcrossTasks,
    ByMetric,
    Diff,
    Difference,
    Edge,
    Job,
    OfTasks,
    Part,
    Report,
    Row,
    Spread,
    Status,
)
from ablab.report.forms.conclusion_lines import conclusion_lines, expectation_text
from ablab.report.forms.notes import failures_of
from ablab.report.table import tasks
from ablab.report.table.claim import Verdict
from ablab.report.table.comparison import Comparison, ReportJob
from ablab.report.table.conclusion import Standing, conclude
from ablab.report.table.contest import Against
from ablab.report.table.paired import CONFIDENCE
from ablab.report.table.rows import ReportRow
from ablab.report.table.tables import ReportTable
from ablab.runs.record import RunRecord


def report_document(table: ReportTable) -> Report:
    """Return the report of a table."""
    comparison, conclusion = table.comparison, conclude(table)
    plan = comparison.plan
    return Report(
        schema=SCHEMA_VERSION,
        title=comparison.title,
        command=plan.command if plan else None,
        claim=plan.claim if plan else None,
        outcome=conclusion.outcome,
        parts=tuple(map(_part, conclusion.verdicts)),
        conclusion=tuple(conclusion_lines(table, conclusion)),
        confidence=CONFIDENCE,
        keys=comparison.keys,
        metrics=comparison.metrics,
        directions=table.directions,
        by_metric=tuple(map(_by_metric, conclusion.standings)),
        rows=tuple(map(_row, table.rows, table.baselines)),
        jobs=_jobs(comparison),
        across_tasks=tuple(map(_across, tasks.across_tasks(table))),
    )


def diff_document(folders: tuple[Path, Path]) -> Diff:
    """Return the differences of two runs. Raise RunFolderError if one cannot be read."""
    a, b = map(RunRecord.read, folders)
    return Diff(
        SCHEMA_VERSION,
        str(folders[0]),
        str(folders[1]),
        {key: (x, y) for key, x, y in config_differences(a, b)},
        {key: (x, y) for key, x, y in metric_differences(a, b)},
    )


def status_document(comparison: Comparison) -> Status:
    """Return the state of the jobs of a comparison."""
    counts = dict(Counter(job.status for job in comparison.jobs))
    return Status(SCHEMA_VERSION, comparison.title, counts, _jobs(comparison))


def _jobs(comparison: Comparison) -> tuple[Job, ...]:
    variants = dict.fromkeys(job.variant for job in comparison.jobs)
    rows = {variant: index for index, variant in enumerate(variants)}
    errors = {failure.folder: failure.error for failure in failures_of(comparison.jobs)}

    def described(job: ReportJob) -> Job:
        error = errors.get(job.folder) or None
        return Job(str(job.folder), job.status, rows[job.variant], job.seed, error)

    return tuple(map(described, comparison.jobs))


def _row(row: ReportRow, baseline: int | None) -> Row:
    return Row(
        settings=dict(row.variant),
        aliases=row.aliases,
        baseline=baseline,
        jobs=dict(row.statuses),
        metrics={m: Spread(s.mean, s.std, s.n) for m, s in row.metrics.items()},
        per_seed={metric: dict(values) for metric, values in row.per_seed.items()},
        seconds_per_run=row.cost.seconds,
        hours=row.cost.hours,
    )


def _part(verdict: Verdict) -> Part:
    part = verdict.expectation
    return Part(
        text=expectation_text(verdict),
        better=part.better,
        than=part.than,
        metric=part.metric,
        by=part.by,
        outcome=verdict.outcome,
        reason=verdict.reason,
        difference=_difference(verdict.against) if verdict.against else None,
    )


def _by_metric(standing: Standing) -> ByMetric:
    return ByMetric(
        metric=standing.metric,
        direction=standing.direction,
        best=standing.best,
        baseline=standing.reference,
        contestants=standing.contestants,
        as_good=tuple(one.row for one in standing.near),
        to_baseline=tuple(map(_difference, standing.against)),
        to_best=tuple(map(_difference, standing.to_best)),
        edges=tuple(
            Edge(e.row, e.axis, e.value, "largest" if e.largest else "smallest")
            for e in standing.edges
        ),
    )


def _difference(against: Against) -> Difference:
    found = against.found
    plain = found.difference
    return Difference(
        row=against.row,
        other=against.other,
        mean=plain.mean,
        std=plain.std,
        interval=(plain.low, plain.high),
        n=plain.n,
        p=found.p,
        corrected=(found.low, found.high),
        seeds=found.seeds,
    )


def _across(found: tasks.AcrossTasks) -> AcrossTasks:
    rows = []
    for index, iqm in found.iqm.items():
        better = found.better.get(index, tasks.NO_ESTIMATE)
        ends = (iqm.low, iqm.high), (better.low, better.high)
        rows.append(OfTasks(index, iqm.value, ends[0], better.value, ends[1]))
    return AcrossTasks(found.metric, found.tasks, found.runs, found.relative, tuple(rows))
