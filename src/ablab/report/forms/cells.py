"""The cells of a table as text, the same in every form (terminal, Markdown, LaTeX, HTML)."""

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from ablab.report.table.comparison import STATUSES
from ablab.report.table.conclusion import conclude
from ablab.report.table.paired import CONFIDENCE
from ablab.report.table.rows import ReportRow
from ablab.report.table.tables import ReportTable

_ARROWS = {"min": "↓", "max": "↑"}
# Last words of keys that say little without the word before them: weight_decay.mode.
_VAGUE = ("_target_", "kind", "mode", "name", "size", "type")
Kind = Literal["setting", "metric", "difference", "runs", "cost"]


@dataclass(frozen=True)
class Column:
    """A title and a cell for each row.

    ``best`` holds the indices of the best cells, ``near`` of those not separable from the best;
    ``direction`` is ``min`` or ``max`` for a metric, if that is known.
    """

    title: str
    kind: Kind
    cells: tuple[str, ...]
    best: frozenset[int] = frozenset()
    near: frozenset[int] = frozenset()
    direction: str | None = None

    @property
    def heading(self) -> str:
        """The title, with an arrow to where a metric is better."""
        return f"{self.title} {_ARROWS[self.direction]}" if self.direction else self.title

    def marked(self, index: int) -> str:
        """Return a cell, with ``≈`` if it is not separable from the best."""
        return f"{self.cells[index]} ≈" if index in self.near else self.cells[index]


def columns_of(table: ReportTable, digits_of_all: int | None = None) -> list[Column]:
    """Return the columns: settings, metrics, differences to a baseline if any, runs, cost.

    ``digits_of_all`` are the decimals of all metrics; without it, they follow from the values.
    """
    rows, comparison = table.rows, table.comparison
    columns = [
        Column(key, "setting", tuple(_setting(row, key) for row in rows)) for key in comparison.keys
    ]
    digits = {
        metric: decimals(rows, metric) if digits_of_all is None else digits_of_all
        for metric in comparison.metrics
    }
    near = {standing.metric: standing.near for standing in conclude(table).standings}
    for metric in comparison.metrics:
        cells = tuple(_metric(row, metric, digits[metric]) for row in rows)
        best, direction = table.best[metric], table.directions.get(metric)
        close = frozenset(one.row for one in near.get(metric, ()) if one.found.p >= 0) - best
        columns.append(Column(metric, "metric", cells, best, close, direction))
    if any(baseline is not None for baseline in table.baselines):
        for metric in comparison.metrics:
            title = f"Δ {metric} [{100 * CONFIDENCE:.0f} %]"
            cells = tuple(
                _difference(table, index, metric, digits[metric]) for index in range(len(rows))
            )
            columns.append(Column(title, "difference", cells))
    columns.append(Column("runs", "runs", tuple(_runs(row) for row in rows)))
    costs = [row.cost for row in rows]
    if any(cost.hours for cost in costs):
        seconds = tuple("-" if math.isnan(c.seconds) else f"{c.seconds:.1f}" for c in costs)
        columns.append(Column("s / run", "cost", seconds))
        columns.append(Column("hours", "cost", tuple(f"{c.hours:.3f}" for c in costs)))
    if any(cost.device_hours != cost.hours for cost in costs):
        hours = tuple(f"{c.device_hours:.3f}" for c in costs)
        columns.append(Column("device-hours", "cost", hours))
    return columns


def scaled(table: ReportTable, factor: float) -> ReportTable:
    """Return the table with its metrics and their differences multiplied by ``factor``."""

    def times(found: Any) -> Any:
        numbers = {name: value for name, value in vars(found).items() if name != "n"}
        return replace(found, **{name: factor * value for name, value in numbers.items()})

    rows = [
        replace(row, metrics={m: times(s) for m, s in row.metrics.items()}) for row in table.rows
    ]
    differences = [{m: times(d) for m, d in own.items()} for own in table.differences]
    return replace(table, rows=rows, differences=differences)


def short_keys(keys: Sequence[str]) -> dict[str, str]:
    """Return the shortest end of each key that names it: ``lr``, ``weight_decay`` (its value)."""
    ends = {key: key.removesuffix(".value") for key in keys}
    ends = ends if len(set(ends.values())) == len(keys) else {key: key for key in keys}
    short = {}
    for key, whole in ends.items():
        parts = whole.split(".")
        names = [".".join(parts[-n:]) for n in range(1, len(parts) + 1)]
        others = [f".{other}" for other in ends.values() if other != whole]
        clear = (n for n in names if not any(other.endswith(f".{n}") for other in others))
        short[key] = next((name for name in clear if name not in _VAGUE), whole)
    return short


def row_name(row: ReportRow) -> str:
    """Return a row's values, numbers to four digits: ``l2 = l2_again, 0.01``; may be empty."""
    return ", ".join(_rounded(_setting(row, key)) for key, value in row.variant if value)


def shown_statuses(statuses: Mapping[str, int]) -> str:
    """Return the statuses of jobs that are not done, as ``1 failed, 2 missing``."""
    return ", ".join(f"{statuses[name]} {name}" for name in STATUSES[1:] if statuses.get(name))


def _setting(row: ReportRow, key: str) -> str:
    value = dict(row.variant)[key]
    return " = ".join((value, *row.aliases)) if key == "variant" else value


def _rounded(text: str) -> str:
    try:
        short = f"{float(text):.4g}"
    except ValueError:
        return text
    return min(short, text, key=len)


def _metric(row: ReportRow, metric: str, decimals: int) -> str:
    spread = row.metrics.get(metric)
    if spread is None:
        return _absent(row.statuses)
    n = str(spread.n) if spread.n == row.seeds else f"{spread.n} of {row.seeds}"
    if math.isnan(spread.std):
        return f"{number(spread.mean, decimals)} ({n})"
    return f"{number(spread.mean, decimals)} ± {number(spread.std, decimals)} ({n})"


def _absent(statuses: Counter[str]) -> str:
    """Return why a row has no value: the status of all its jobs, or the count of each."""
    if len(statuses) == 1 and "done" not in statuses:
        return next(iter(statuses))
    return shown_statuses(statuses) or "-"


def _difference(table: ReportTable, index: int, metric: str, decimals: int) -> str:
    if table.baselines[index] == index:
        return "baseline"
    found = table.differences[index].get(metric)
    if found is None:
        return "-"
    n = "" if found.n == table.rows[index].metrics[metric].n else f" ({found.n})"
    mean = number(found.mean, decimals, "+")
    if math.isnan(found.low):
        return f"{mean}{n}"
    return f"{mean} [{number(found.low, decimals, '+')}, {number(found.high, decimals, '+')}]{n}"


def _runs(row: ReportRow) -> str:
    unfinished = shown_statuses(row.statuses)
    done, total = row.statuses["done"], row.statuses.total()
    return f"{done} of {total}: {unfinished}" if unfinished else str(done)


def decimals(rows: Sequence[ReportRow], metric: str) -> int:
    """Return the decimals of a metric's column: four for values about 1, fewer for larger ones."""
    means = [abs(row.metrics[metric].mean) for row in rows if metric in row.metrics]
    means = [mean for mean in means if mean > 0 and math.isfinite(mean)]
    if not means:
        return 4
    exponent = math.floor(math.log10(statistics.median(means)))
    return 3 - exponent if exponent < 0 else max(4 - exponent, 0)


def number(value: float, decimals: int, sign: str = "") -> str:
    """Return a number with these decimals, or in powers of ten if that is shorter."""
    if math.isnan(value):
        return "nan"
    long = decimals > 8 or abs(value) >= 1e9
    return f"{value:{sign}.3e}" if long else f"{value:{sign}.{decimals}f}"
