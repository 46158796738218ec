"""The numeric axes of a table, and its rows as points on them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ablab.report.table.rows import Row
from ablab.report.table.tables import Table

if TYPE_CHECKING:
    from ablab.report.table.valley import Array

_MOST_LINES = 12


@dataclass(frozen=True)
class Group:
    """Rows that agree in all but the axes, by their values on these; most often a variant."""

    name: str
    rows: dict[tuple[float, ...], Row]

    def axis(self, index: int) -> list[float]:
        """The values on an axis, in order."""
        return sorted({point[index] for point in self.rows})


def numeric_axes(table: Table) -> list[str]:
    """Settings of which all values are numbers, two or more of them, in the order of the plan."""
    axes = []
    for key in table.comparison.keys:
        texts = {dict(row.variant)[key] for row in table.rows}
        if len(texts) > 1 and key not in ("variant", "name") and all(map(_is_number, texts)):
            axes.append(key)
    return axes


def is_grid(table: Table) -> bool:
    """Whether rows fill a third or more of the grid that their values on numeric axes span.

    With fewer than two axes they always do.
    """
    axes = numeric_axes(table)
    if len(axes) < 2:
        return True
    points = {_point(row, axes) for row in table.rows}
    cells = math.prod(len({point[index] for point in points}) for index in range(len(axes)))
    return 3 * len(points) >= cells


def grouped(table: Table, axes: Sequence[str]) -> list[Group]:
    """A group for each value of the settings that are no axes.

    A row that goes by the name of another variant as well is a point of that one's group too.
    """
    groups: dict[tuple[str, ...], Group] = {}
    others = [key for key in table.comparison.keys if key not in axes]
    for row in table.rows:
        settings = dict(row.variant)
        key = tuple(settings[other] for other in others)
        named = zip(others, key, strict=True)
        name = ", ".join(v if k in ("variant", "name") else f"{k} {v}" for k, v in named)
        group = groups.setdefault(key, Group(name, {}))
        group.rows[_point(row, axes)] = row
    for row in table.rows:
        for alias in row.aliases:
            settings = {**dict(row.variant), "variant": alias}
            group = groups.get(tuple(settings[other] for other in others))
            if group is not None:
                group.rows.setdefault(_point(row, axes), row)
    return list(groups.values())


def values_on_grid(group: Group, x: Sequence[float], y: Sequence[float], metric: str) -> "Array":
    """[seeds, X, Y], nan where a cell lacks a value of any seed; no seeds where none has one.

    The mean of the seeds that did not fail would be too good to be compared with its neighbours'.
    """
    import numpy as np

    seeds = list(
        dict.fromkeys(seed for row in group.rows.values() for seed in row.per_seed.get(metric, {}))
    )
    values = np.full((len(seeds), len(x), len(y)), np.nan)
    for (at_x, at_y), row in group.rows.items():
        if at_x in x and at_y in y:
            for seed, value in row.per_seed.get(metric, {}).items():
                values[seeds.index(seed), x.index(at_x), y.index(at_y)] = value
    values[:, ~np.isfinite(values).all(axis=0)] = np.nan
    return values


def valley_lines(table: Table) -> list[str]:
    """How the valley lies, a line for each metric and group; none without two numeric axes.

    Only positive values of an axis count, since the scales are logarithmic.
    """
    axes = numeric_axes(table)[:2]
    if len(axes) < 2:
        return []
    from ablab.report.table.valley import interaction_share, mean_over_seeds, valley_slope

    lines = []
    for metric, mode in table.directions.items():
        for group in grouped(table, axes):
            x, y = ([value for value in group.axis(i) if value > 0] for i in (0, 1))
            values = values_on_grid(group, x, y, metric)
            if len(x) < 3 or len(y) < 3 or not len(values):
                continue
            told = []
            slope = valley_slope(x, y, values, mode)
            if slope is not None:
                interval = f" [{_short(slope.low)}, {_short(slope.high)}]"
                told.append(
                    f"slope of log best {axes[1]} on log {axes[0]} {_short(slope.value)}"
                    f"{'' if math.isnan(slope.low) else interval} "
                    f"({slope.points} points, {slope.on_edge} on the grid's edge)"
                )
            share, cells = interaction_share(mean_over_seeds(values), mode)
            if share is not None:
                told.append(f"interaction {100 * share:.0f} % of log {metric} in {cells} cells")
            if told:
                name = f" of {group.name}" if group.name else ""
                lines.append(f"valley{name} in {metric}: {'; '.join(told)}")
    if len(lines) > _MOST_LINES:
        return [*lines[:_MOST_LINES], f"and {len(lines) - _MOST_LINES} more valleys"]
    return lines


def _short(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}"  # no -0.00


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _point(row: Row, axes: Sequence[str]) -> tuple[float, ...]:
    settings = dict(row.variant)
    return tuple(float(settings[axis]) for axis in axes)
