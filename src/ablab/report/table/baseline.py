"""Find the row with which each row of a table is compared."""

import math
from collections.abc import Mapping, Sequence

import yaml

from ablab.report.table.comparison import NAMES
from ablab.report.table.rows import ReportRow

_Values = tuple[float | str, ...]


def pair_with_baselines(rows: Sequence[ReportRow], baseline: Mapping[str, str]) -> list[int | None]:
    """Return for each row the index of the row with the baseline's values in place of its own.

    With ``variant=none``, each point of a grid is compared with the same point of ``none``. If
    there is no such row and exactly one row has the baseline's values, that row is taken.
    """
    if not baseline:
        return [None] * len(rows)
    indices = {_values(row, {}): index for index, row in enumerate(rows)}
    having = rows_having(rows, baseline)
    for index, row in enumerate(rows):
        for alias in row.aliases:
            indices.setdefault(_values(row, {"variant": alias}), index)
    if not _keys(rows) >= baseline.keys():
        return [None] * len(rows)
    alone = having[0] if len(having) == 1 else None
    return [indices.get(_values(row, baseline), alone) for row in rows]


def rows_having(rows: Sequence[ReportRow], settings: Mapping[str, str]) -> list[int]:
    """Return the indices of the rows with these values, also by the name of an alias."""
    if not _keys(rows) >= settings.keys():
        return []
    return [
        index
        for index, row in enumerate(rows)
        if any(
            _values(row, names) == _values(row, {**names, **settings})
            for names in ({}, *({"variant": alias} for alias in row.aliases))
        )
    ]


def _keys(rows: Sequence[ReportRow]) -> set[str]:
    return {key for row in rows for key, _ in row.variant}


def _values(row: ReportRow, replaced: Mapping[str, str]) -> _Values:
    return tuple(_comparable(key, replaced.get(key, value)) for key, value in row.variant)


def _comparable(key: str, value: str) -> float | str:
    """Return ``value`` so that 1e-2 equals 0.01 and [1,2] equals [1, 2]; names stay as they are."""
    if key in NAMES:
        return value
    try:
        number = float(value)
    except ValueError:
        return _comparable_list(key, value) if value.startswith("[") else value
    return number if math.isfinite(number) else value


def _comparable_list(key: str, value: str) -> str:
    try:
        items = yaml.safe_load(value)
    except yaml.YAMLError:
        return value
    return str([_comparable(key, str(item)) for item in items])
