"""Reports, differences of runs and the state of a plan as JSON, for programs.

The keys are stable: one is added only with a default, and ``schema`` grows if one changes. Numbers
that are not finite are null. ``docs/schemas`` holds the JSON schema of each document.
"""

import json
import math
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ablab.report.differences import config_differences, metric_differences
from ablab.report.forms.conclusion_lines import Line, conclusion_lines, expectation_text
from ablab.report.forms.notes import failures_of
from ablab.report.table.comparison import Comparison, ReportJob
from ablab.report.table.conclusion import Against, Standing, Verdict, conclude
from ablab.report.table.paired import CONFIDENCE
from ablab.report.table.rows import ReportRow
from ablab.report.table.tables import ReportTable
from ablab.runs.record import RunRecord

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Job:
    """A run; ``row`` is the index of its row in a report."""

    folder: str
    status: str
    row: int
    seed: str
    error: str | None


@dataclass(frozen=True)
class Spread:
    mean: float | None
    std: float | None
    n: int


@dataclass(frozen=True)
class Difference:
    """A paired difference of row ``row`` to row ``other``, with its own interval.

    ``p`` and ``corrected`` are Holm's for all comparisons made together; ``seeds`` is how many
    seeds would tell the two apart, null if that is unknown or more than 1,000.
    """

    row: int
    other: int
    mean: float | None
    std: float | None
    interval: tuple[float | None, float | None]
    n: int
    p: float | None
    corrected: tuple[float | None, float | None]
    seeds: int | None


@dataclass(frozen=True)
class Part:
    """A part of the claim and what came out."""

    text: str
    better: dict[str, Any]
    than: dict[str, Any]
    metric: str
    by: float
    outcome: str
    reason: str
    difference: Difference | None


@dataclass(frozen=True)
class Edge:
    row: int
    axis: str
    value: str
    end: str


@dataclass(frozen=True)
class ByMetric:
    """How the rows stand by a metric; rows are indices, ``contestants`` has the best first."""

    metric: str
    direction: str
    best: int | None
    baseline: int | None
    contestants: tuple[int, ...]
    as_good: tuple[int, ...]
    to_baseline: tuple[Difference, ...]
    to_best: tuple[Difference, ...]
    edges: tuple[Edge, ...]


@dataclass(frozen=True)
class Row:
    """A row of the table; ``per_seed`` has the values that ``metrics`` summarises."""

    settings: dict[str, str]
    aliases: tuple[str, ...]
    baseline: int | None
    jobs: dict[str, int]
    metrics: dict[str, Spread]
    per_seed: dict[str, dict[str, float | None]]
    seconds_per_run: float | None
    hours: float


@dataclass(frozen=True)
class Report:
    """A report; ``conclusion`` has it as sentences, the other keys as numbers."""

    schema: int
    title: str
    command: str | None
    claim: str | None
    outcome: str | None
    parts: tuple[Part, ...]
    conclusion: tuple[Line, ...]
    confidence: float
    keys: tuple[str, ...]
    metrics: tuple[str, ...]
    directions: dict[str, str]
    by_metric: tuple[ByMetric, ...]
    rows: tuple[Row, ...]
    jobs: tuple[Job, ...]


@dataclass(frozen=True)
class Diff:
    """The settings and metrics in which two runs differ; null where one run has none."""

    schema: int
    a: str
    b: str
    settings: dict[str, tuple[str, str]]
    metrics: dict[str, tuple[float | None, float | None]]


@dataclass(frozen=True)
class Status:
    """The jobs of a plan, or any runs, and how many are in each state."""

    schema: int
    title: str
    counts: dict[str, int]
    jobs: tuple[Job, ...]


DOCUMENTS = {"report": Report, "diff": Diff, "status": Status}


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


def as_json(document: Report | Diff | Status, *, indent: int | None = 1) -> str:
    """Return a document as JSON; without ``indent`` it is as short as can be."""
    separators = None if indent else (",", ":")
    content = _finite(asdict(document))
    return json.dumps(content, ensure_ascii=False, indent=indent, separators=separators)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


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
