"""A table as numbers for other programs, with a line for each row × metric."""

import csv
import io
import math
from typing import Any

from ablab.report.table.comparison import STATUSES
from ablab.report.table.paired import PairedDifference
from ablab.report.table.rows import ReportRow, Spread
from ablab.report.table.tables import ReportTable


def tidy(table: ReportTable) -> tuple[list[str], list[list[Any]]]:
    """Return the names of the columns and a line for each row × metric; None for empty cells.

    Only columns whose names begin with ``seconds`` or ``hours`` depend on the clock.
    """
    spread = ("mean", "std", "n", "seeds", "best")
    difference = ("baseline", "difference", "low", "high", "pairs")
    cost = ("device", "seconds_per_run", "hours", "hours_devices")
    keys = table.comparison.keys
    header = [*keys, "same_as", "metric", *spread, *difference, *STATUSES, *cost]
    lines: list[list[Any]] = []
    for index, row in enumerate(table.rows):
        baseline = table.baselines[index]
        for metric in table.comparison.metrics or ("",):
            line = [*(value for _, value in row.variant), " ".join(row.aliases), metric]
            line += _spread(row.metrics.get(metric))
            line += [row.seeds, int(index in table.best.get(metric, ()))]
            line += ["" if baseline is None else _name(table.rows[baseline])]
            line += _difference(table.differences[index].get(metric))
            line += [row.statuses[status] for status in STATUSES]
            line += [" ".join(row.cost.devices), _number(row.cost.seconds)]
            lines.append([*line, row.cost.hours, row.cost.device_hours])
    return header, lines


def tidy_csv(table: ReportTable) -> str:
    """Return the same as CSV."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    header, lines = tidy(table)
    writer.writerow(header)
    writer.writerows(lines)
    return text.getvalue()


def _spread(spread: Spread | None) -> list[float | None]:
    if spread is None:
        return [None, None, 0]
    return [_number(spread.mean), _number(spread.std), spread.n]


def _difference(found: PairedDifference | None) -> list[float | None]:
    if found is None:
        return [None] * 4
    return [_number(found.mean), _number(found.low), _number(found.high), found.n]


def _name(row: ReportRow) -> str:
    return " ".join(v if key == "variant" else f"{key}={v}" for key, v in row.variant)


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
