"""Mean ± standard deviation (n) of metrics over seeds, for each variant among a set of runs."""

import math
import statistics
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from lab.report.collect import SEED_KEYS, Run, varying_keys

Variant = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Spread:
    """Sample mean and standard deviation (n - 1; nan for n = 1) of ``n`` values."""

    mean: float
    std: float
    n: int

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        std = statistics.stdev(values) if len(values) > 1 else math.nan
        return cls(statistics.fmean(values), std, len(values))


@dataclass(frozen=True)
class Row:
    variant: Variant
    metrics: dict[str, Spread]
    runs: int
    unfinished: int


def summarise(runs: list[Run], metrics: list[str], *, average_over: str | None = None) -> list[Row]:
    """One row a variant: all runs that agree in every setting but the seed.

    With ``average_over`` (``data.split``), a seed's value is first the mean over that setting, and
    only seeds that have all of its values count, so that the spread is that of the seeds.
    """
    by_name: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_name[run.record.name].append(run)
    varying = dict.fromkeys(key for named in by_name.values() for key in varying_keys(named))
    keys = ["name"] if len(by_name) > 1 else []  # which says what all of its runs have in common
    keys += [key for key in varying if key != average_over]
    groups: dict[Variant, list[Run]] = defaultdict(list)
    for run in runs:
        groups[tuple((key, str(run.settings.get(key, ""))) for key in keys)].append(run)
    rows = []
    for variant, members in groups.items():
        done = [run for run in members if run.record.status == "done"]
        spreads = {}
        for metric in metrics:
            values = _per_seed(done, average_over, lambda run, m=metric: _metric(run, m))
            if values:
                spreads[metric] = Spread.of(values)
        rows.append(Row(variant, spreads, len(done), len(members) - len(done)))
    return rows


def metric_names(runs: list[Run]) -> list[str]:
    """``test/…`` of every run, then the objective on the validation part where there is one."""
    names = {f"test/{name}": None for run in runs for name in run.record.metrics.get("test", {})}
    objective = {
        f"val/{run.record.objective['metric']}": None
        for run in runs
        if f"val/{run.record.objective['metric']}" in run.record.metrics.get("chosen", {})
    }
    return [*(name for name in names if name != "test/loss"), *objective]


def _metric(run: Run, name: str) -> float | None:
    stage, _, short = name.partition("/")
    if stage == "test":
        return run.record.metrics.get("test", {}).get(short)
    return run.record.metrics.get("chosen", {}).get(name)


def _per_seed(
    runs: list[Run], average_over: str | None, value_of: Callable[[Run], float | None]
) -> list[float]:
    by_seed: dict[str, dict[str, float]] = defaultdict(dict)
    for run in runs:
        value = value_of(run)
        if value is not None:
            seed = repr([run.settings.get(key) for key in SEED_KEYS])
            part = repr(run.settings.get(average_over)) if average_over else str(run.folder)
            by_seed[seed][part] = value
    if average_over is None:
        return [value for parts in by_seed.values() for value in parts.values()]
    complete = max((len(parts) for parts in by_seed.values()), default=0)
    return [statistics.fmean(p.values()) for p in by_seed.values() if len(p) == complete]
