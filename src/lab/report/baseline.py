"""Which row each row of a table is compared with."""

import math
from collections.abc import Mapping, Sequence

import yaml

from lab.report.rows import Row

_Values = tuple[float | str, ...]


def pair_with_baselines(rows: Sequence[Row], baseline: Mapping[str, str]) -> list[int | None]:
    """For each row the index of the one with the baseline's values in place of its own.

    So ``variant=none`` compares each point of a grid with the same point of ``none``. Where there
    is no such row and only one has the baseline's values, it is that one.
    """
    if not baseline:
        return [None] * len(rows)
    indices: dict[_Values, int] = {}
    having = []
    for index, row in enumerate(rows):
        indices[_values(row, {})] = index
        names = [{}, *({"variant": alias} for alias in row.aliases)]
        if any(_values(row, n) == _values(row, {**n, **baseline}) for n in names):
            having.append(index)
    for index, row in enumerate(rows):
        for alias in row.aliases:
            indices.setdefault(_values(row, {"variant": alias}), index)
    keys = {key for row in rows for key, _ in row.variant}
    if not keys >= baseline.keys():
        return [None] * len(rows)
    alone = having[0] if len(having) == 1 else None
    return [indices.get(_values(row, baseline), alone) for row in rows]


def _values(row: Row, replaced: Mapping[str, str]) -> _Values:
    return tuple(_comparable(key, replaced.get(key, value)) for key, value in row.variant)


def _comparable(key: str, value: str) -> float | str:
    """1e-2 and 0.01 are one value, as are [1,2] and [1, 2]; names are only names."""
    if key in ("variant", "name"):
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
