"""Choose the rows that a picture has room for."""

import math
from collections.abc import Sequence

from ablab.report.pictures.style import MOST_LINES
from ablab.report.table.comparison import NAMES
from ablab.report.table.grid import grouped, numeric_axes
from ablab.report.table.tables import ReportTable, best_rows


def ranked(table: ReportTable, metric: str | None, indices: Sequence[int]) -> list[int]:
    """Return the rows from best to worst by their means, rows without a mean last."""
    sign = -1 if metric is not None and table.directions.get(metric) == "max" else 1

    def rank(index: int) -> float:
        spread = table.rows[index].metrics.get(metric or "")
        return math.inf if spread is None or math.isnan(spread.mean) else sign * spread.mean

    return sorted(indices, key=rank)


def candidates(
    table: ReportTable, metric: str | None, indices: Sequence[int]
) -> tuple[list[int], str]:
    """Return all rows if they are few, else the best point of each variant on the numeric axes.

    Returns:
        The rows, and a sentence for the caption; empty if no row was left out.
    """
    groups = grouped(table, numeric_axes(table))
    if len(indices) <= MOST_LINES or len(groups) == 1:
        return list(indices), ""
    position = {id(row): index for index, row in enumerate(table.rows)}
    chosen = []
    for group in groups:
        own = sorted({position[id(row)] for row in group.rows.values()} & set(indices))
        direction = table.directions.get(metric or "")
        best = best_rows([table.rows[index] for index in own], metric or "", direction)
        chosen += [own[min(best)]] if best else ranked(table, metric, own)[:1]
    chosen = list(dict.fromkeys(chosen))
    if len(chosen) == len(indices):
        return chosen, ""
    return chosen, f" The best point of each of {len(chosen)} variants."


def rows_named(table: ReportTable) -> str:
    """Return a sentence that explains the parts of a row's name; empty for a variant alone."""
    keys = table.comparison.keys
    return "" if keys in ((), *((name,) for name in NAMES)) else f" Names: {', '.join(keys)}."
