"""The numeric axes of a table, and its rows as points on them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ablab.report.table.rows import ReportRow
from ablab.report.table.tables import ReportTable


@dataclass(frozen=True)
class Group:
    """Rows that agree in all but the axes, by their values on these; most often a variant."""

    name: str
    rows: dict[tuple[float, ...], ReportRow]

    def axis(self, index: int) -> list[float]:
        """The values on an axis, in order."""
        return sorted({point[index] for point in self.rows})


def numeric_axes(table: ReportTable) -> list[str]:
    """Settings of which all values are numbers, two or more of them, in the order of the plan."""
    axes = []
    for key in table.comparison.keys:
        texts = {dict(row.variant)[key] for row in table.rows}
        if len(texts) > 1 and key not in ("variant", "name") and all(map(_is_number, texts)):
            axes.append(key)
    return axes


def is_grid(table: ReportTable) -> bool:
    """Whether rows fill a third or more of the grid that their values on numeric axes span.

    With fewer than two axes they always do.
    """
    axes = numeric_axes(table)
    if len(axes) < 2:
        return True
    points = {_point(row, axes) for row in table.rows}
    cells = math.prod(len({point[index] for point in points}) for index in range(len(axes)))
    return 3 * len(points) >= cells


def grouped(table: ReportTable, axes: Sequence[str]) -> list[Group]:
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


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _point(row: ReportRow, axes: Sequence[str]) -> tuple[float, ...]:
    settings = dict(row.variant)
    return tuple(float(settings[axis]) for axis in axes)
