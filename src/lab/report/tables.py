"""Mean ± standard deviation (n) of metrics over seeds, for each variant among a set of runs."""

import math
import statistics
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from lab.errors import UserError
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
    """``per_seed`` holds each metric's value (a mean, where a seed has several) by seed."""

    variant: Variant
    metrics: dict[str, Spread]
    per_seed: dict[str, dict[str, float]]
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
    varying = dict.fromkeys(
        key
        for named in by_name.values()
        for key in varying_keys(named)
        if all(key in run.settings for run in named)  # what only some have, their model or data say
    )
    keys = ["name"] if len(by_name) > 1 else []  # which says what all of its runs have in common
    keys += [key for key in varying if key != average_over]
    groups: dict[Variant, list[Run]] = defaultdict(list)
    for run in runs:
        groups[tuple((key, str(run.settings.get(key, ""))) for key in keys)].append(run)
    rows = []
    for variant, members in groups.items():
        done = [run for run in members if run.record.status == "done"]
        spreads, means = {}, {}
        for metric in metrics:
            values = _per_seed(done, average_over, lambda run, m=metric: _metric(run, m))
            if values:
                # a seed that was run twice is still one seed
                means[metric] = {seed: statistics.fmean(v) for seed, v in values.items()}
                spreads[metric] = Spread.of(list(means[metric].values()))
        rows.append(Row(variant, spreads, means, len(done), len(members) - len(done)))
    return rows


def find_row(rows: list[Row], chosen: str) -> Row:
    """The row of the variant ``KEY=VALUE,…``, of which every part must agree.

    Raises:
        UserError: none, or several, do.
    """
    parts = [tuple(part.split("=", 1)) for part in chosen.split(",")]
    found = [row for row in rows if all(part in row.variant for part in parts)]
    if len(found) != 1:
        variants = "\n".join(",".join(f"{k}={v}" for k, v in row.variant) for row in rows)
        raise UserError(
            f"baseline '{chosen}' is {len(found)} of these variants, not one:\n{variants}"
        )
    return found[0]


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
) -> dict[str, list[float]]:
    by_seed: dict[str, dict[str, float]] = defaultdict(dict)
    for run in runs:
        value = value_of(run)
        if value is not None:
            seed = repr([run.settings.get(key) for key in SEED_KEYS])
            part = repr(run.settings.get(average_over)) if average_over else str(run.folder)
            by_seed[seed][part] = value
    if average_over is None:
        return {seed: list(parts.values()) for seed, parts in by_seed.items()}
    complete = max((len(parts) for parts in by_seed.values()), default=0)
    return {
        seed: [statistics.fmean(parts.values())]
        for seed, parts in by_seed.items()
        if len(parts) == complete
    }
