"""The JSON of reports, of differences of runs and of the state of a plan, for programs.

The keys are stable: one is added only with a default, and ``schema`` grows if one changes. Numbers
that are not finite are null. ``docs/schemas`` holds the JSON schema of each document.
"""

import json
import math
from dataclasses import dataclass, is_dataclass
from typing import Any

from ablab.report.forms.conclusion_lines import Line

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
    """The order of the rows by a metric; rows are indices, ``contestants`` has the best first."""

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
class OfTasks:
    """A row over all tasks or splits: its interquartile mean, and how often it beats its baseline.

    ``better`` is null for a row without baseline; intervals are a stratified bootstrap's.
    """

    row: int
    iqm: float | None
    iqm_interval: tuple[float | None, float | None]
    better: float | None
    better_interval: tuple[float | None, float | None]


@dataclass(frozen=True)
class AcrossTasks:
    """The rows by a metric, over ``tasks`` values of the averaged settings, each of ``runs``.

    If ``relative``, scores are divided by the mean of the row's baseline on the same task, since
    tasks have different scales; without a baseline, there is no interquartile mean then.
    """

    metric: str
    tasks: int
    runs: int
    relative: bool
    rows: tuple[OfTasks, ...]


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
    across_tasks: tuple[AcrossTasks, ...] = ()


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


def as_json(document: Report | Diff | Status, *, indent: int | None = 1) -> str:
    """Return a document as JSON; without ``indent`` it is as short as can be."""
    separators = None if indent else (",", ":")
    content = _plain(document)
    return json.dumps(content, ensure_ascii=False, indent=indent, separators=separators)


def _plain(value: Any) -> Any:
    """Return what JSON has of ``value``: a mapping for a document, null for what is not finite."""
    if is_dataclass(value):
        value = vars(value)  # asdict copies each value, which takes longer than all else
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
