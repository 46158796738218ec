"""Mean ± standard deviation (n) of the metrics over seeds, for each variant of a comparison."""

import math
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from ablab.report.table.comparison import Comparison, ReportJob, Variant
from ablab.runs.record import RunRecord


@dataclass(frozen=True)
class Spread:
    """The sample mean and standard deviation (n - 1) of ``n`` values; nan if undefined."""

    mean: float
    std: float
    n: int

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        if not all(map(math.isfinite, values)):  # from a run that diverged
            return cls(math.nan, math.nan, len(values))
        std = statistics.stdev(values) if len(values) > 1 else math.nan
        return cls(statistics.fmean(values), std, len(values))


@dataclass(frozen=True)
class Cost:
    """The time and the devices that the runs of a row took.

    ``seconds`` is the mean of the finished runs, nan without any. ``hours`` sums all runs, finished
    or not; ``device_hours`` counts the hours of a run once for each of its devices.
    """

    seconds: float
    hours: float
    device_hours: float
    devices: tuple[str, ...]


@dataclass(frozen=True)
class ReportRow:
    """A row of a report: the jobs that differ in nothing but the seed.

    ``per_seed`` holds the value of each metric by seed (the mean, if a seed has several).
    ``statuses`` counts jobs; ``seeds`` counts the seeds, finished or not.
    """

    variant: Variant
    aliases: tuple[str, ...]
    metrics: dict[str, Spread]
    per_seed: dict[str, dict[str, float]]
    seeds: int
    statuses: Counter[str]
    cost: Cost

    def complete(self, metric: str) -> bool:
        """Return whether every seed of the row has a value."""
        return metric in self.metrics and self.metrics[metric].n == self.seeds


def summarise(comparison: Comparison) -> list[ReportRow]:
    """Return a row for each variant.

    If settings are averaged (``data.split``), the value of a seed is the mean over their values,
    and only seeds that have all of these count. So the spread is that of the seeds, and all rows
    are means over the same settings.
    """
    groups: dict[Variant, list[ReportJob]] = defaultdict(list)
    for job in comparison.jobs:
        groups[job.variant].append(job)
    parts = {job.part for job in comparison.jobs}
    rows = []
    for variant, jobs in groups.items():
        per_seed = {metric: _per_seed(jobs, parts, metric) for metric in comparison.measured}
        rows.append(
            ReportRow(
                variant=variant,
                aliases=tuple(dict.fromkeys(alias for job in jobs for alias in job.aliases)),
                metrics={m: Spread.of(list(v.values())) for m, v in per_seed.items() if v},
                per_seed={m: v for m, v in per_seed.items() if v},
                seeds=len({job.seed for job in jobs}),
                statuses=Counter(job.status for job in jobs),
                cost=_cost(jobs),
            )
        )
    return rows


def value_of(job: ReportJob, metric: str) -> float | None:
    """Return the value that a finished job has of a metric."""
    if job.status != "done" or job.record is None:
        return None
    stage, _, short = metric.partition("/")
    if stage == "test":
        return job.record.metrics.get("test", {}).get(short)
    return job.record.metrics.get("chosen", {}).get(metric)


def _per_seed(jobs: Sequence[ReportJob], parts: set[str], metric: str) -> dict[str, float]:
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for job in jobs:
        value = value_of(job, metric)
        if value is not None:
            found[job.seed][job.part].append(value)  # a seed that ran twice is one seed
    return {
        seed: _mean([_mean(values) for values in of_part.values()])
        for seed, of_part in found.items()
        if len(of_part) == len(parts)
    }


def _mean(values: list[float]) -> float:
    return statistics.fmean(values) if all(map(math.isfinite, values)) else math.nan


def _cost(jobs: Sequence[ReportJob]) -> Cost:
    spent, of_devices, finished = 0.0, 0.0, []
    devices: dict[str, None] = {}
    for job in jobs:
        seconds = _seconds(job.record) if job.record else None
        if job.record is None or seconds is None:
            continue
        # The record has, for example, "cuda:0 x 2 (NVIDIA H100)".
        kind = re.fullmatch(r"(\w+)\S* x (\d+)(?: \((.*)\))?", job.record.device or "")
        spent += seconds
        of_devices += seconds * (int(kind[2]) if kind else 1)
        if kind:
            devices[kind[3] or kind[1]] = None
        if job.status == "done":
            finished.append(seconds)
    mean = statistics.fmean(finished) if finished else math.nan
    return Cost(mean, spent / 3600, of_devices / 3600, tuple(devices))


def _seconds(record: RunRecord) -> float | None:
    """Return the seconds of a run without imports, which one process pays once for many jobs."""
    total = record.seconds.get("total")
    return None if total is None else total - record.seconds.get("start", 0.0)
