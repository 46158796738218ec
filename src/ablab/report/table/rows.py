"""Mean ± standard deviation (n) of metrics over seeds, for each variant of a comparison."""

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
    """Sample mean and standard deviation (n - 1) of ``n`` values; nan where there is none."""

    mean: float
    std: float
    n: int

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        if not all(map(math.isfinite, values)):  # a run that diverged
            return cls(math.nan, math.nan, len(values))
        std = statistics.stdev(values) if len(values) > 1 else math.nan
        return cls(statistics.fmean(values), std, len(values))


@dataclass(frozen=True)
class Cost:
    """``seconds``: mean of a finished run, nan without any. Hours are those of all runs, finished
    or not, and ``device_hours`` counts them once a device."""

    seconds: float
    hours: float
    device_hours: float
    devices: tuple[str, ...]


@dataclass(frozen=True)
class ReportRow:
    """``per_seed`` holds each metric's value (a mean, where a seed has several) by seed.

    ``statuses`` counts jobs, ``seeds`` those that the row would have if all of them were done.
    """

    variant: Variant
    aliases: tuple[str, ...]
    metrics: dict[str, Spread]
    per_seed: dict[str, dict[str, float]]
    seeds: int
    statuses: Counter[str]
    cost: Cost

    def complete(self, metric: str) -> bool:
        return metric in self.metrics and self.metrics[metric].n == self.seeds


def summarise(comparison: Comparison) -> list[ReportRow]:
    """One row a variant: all jobs that agree in every setting but the seed.

    Where settings are averaged (``data.split``), a seed's value is first the mean over them, and
    only seeds that have all of their values count, so that the spread is that of the seeds, and
    rows are means over the same settings.
    """
    groups: dict[Variant, list[ReportJob]] = defaultdict(list)
    for job in comparison.jobs:
        groups[job.variant].append(job)
    parts = {job.part for job in comparison.jobs}
    rows = []
    for variant, jobs in groups.items():
        per_seed = {metric: _per_seed(jobs, parts, metric) for metric in comparison.metrics}
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


def _value(job: ReportJob, metric: str) -> float | None:
    if job.status != "done" or job.record is None:
        return None
    stage, _, short = metric.partition("/")
    if stage == "test":
        return job.record.metrics.get("test", {}).get(short)
    return job.record.metrics.get("chosen", {}).get(metric)


def _per_seed(jobs: Sequence[ReportJob], parts: set[str], metric: str) -> dict[str, float]:
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for job in jobs:
        value = _value(job, metric)
        if value is not None:
            found[job.seed][job.part].append(value)  # a seed that was run twice is still one seed
    return {
        seed: Spread.of([Spread.of(values).mean for values in of_part.values()]).mean
        for seed, of_part in found.items()
        if len(of_part) == len(parts)
    }


def _cost(jobs: Sequence[ReportJob]) -> Cost:
    spent, of_devices, finished = 0.0, 0.0, []
    devices: dict[str, None] = {}
    for job in jobs:
        seconds = _seconds(job.record) if job.record else None
        if job.record is None or seconds is None:
            continue
        # "cuda:0 x 2 (NVIDIA H100)"
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
    """Without the imports, which in a process of many jobs the first one would pay for all."""
    total = record.seconds.get("total")
    return None if total is None else total - record.seconds.get("start", 0.0)
