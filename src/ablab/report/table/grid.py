"""Find the numeric axes of a table, and the position of each row on them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from ablab.report.table.comparison import NAMES
from ablab.report.table.rows import ReportRow
from ablab.report.table.tables import ReportTable


@dataclass(frozen=True)
class Group:
    """The rows that agree in all settings but the axes, by their values on the axes."""

    name: str
    rows: dict[tuple[float, ...], ReportRow]

    def axis(self, index: int) -> list[float]:
        """Return the sorted values on an axis."""
        return self._axes[index]

    @cached_property  # A picture asks for each of thousands of rows.
    def _axes(self) -> list[list[float]]:
        return [sorted(set(values)) for values in zip(*self.rows, strict=True)]


def numeric_axes(table: ReportTable) -> list[str]:
    """Return the settings with two or more values that are all numbers, in the plan's order."""
    axes = []
    for key in table.comparison.keys:
        texts = {dict(row.variant)[key] for row in table.rows}
        numeric = key not in NAMES and None not in map(finite_number, texts)
        if len(texts) > 1 and numeric:
            axes.append(key)
    return axes


def is_grid(table: ReportTable) -> bool:
    """Return whether the rows fill at least a third of the grid that their values span.

    With fewer than two numeric axes they always do.
    """
    axes = numeric_axes(table)
    if len(axes) < 2:
        return True
    points = {_point(row, axes) for row in table.rows}
    cells = math.prod(len({point[index] for point in points}) for index in range(len(axes)))
    return 3 * len(points) >= cells


def grouped(table: ReportTable, axes: Sequence[str]) -> list[Group]:
    """Return a group for each combination of the settings that are not axes.

    A row with an alias is a point of that variant's group too.
    """
    groups: dict[tuple[str, ...], Group] = {}
    others = [key for key in table.comparison.keys if key not in axes]
    for row in table.rows:
        settings = dict(row.variant)
        key = tuple(settings[other] for other in others)
        named = zip(others, key, strict=True)
        name = ", ".join(v if k in NAMES else f"{k} {v}" for k, v in named)
        group = groups.setdefault(key, Group(name, {}))
        group.rows[_point(row, axes)] = row
    for row in table.rows:
        for alias in row.aliases:
            settings = {**dict(row.variant), "variant": alias}
            group = groups.get(tuple(settings[other] for other in others))
            if group is not None:
                group.rows.setdefault(_point(row, axes), row)
    return list(groups.values())


def finite_number(text: str) -> float | None:
    """Return the number that a setting is, or None."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _point(row: ReportRow, axes: Sequence[str]) -> tuple[float, ...]:
    settings = dict(row.variant)
    return tuple(float(settings[axis]) for axis in axes)
