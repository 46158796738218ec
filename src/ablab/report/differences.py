"""``ablab report diff RUN_A RUN_B``: the settings and metrics in which two runs differ."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablab.config.written import leaves
from ablab.report.table.comparison import shown_value
from ablab.runs.record import RunRecord
from ablab.safety.printable import as_cell, printable

if TYPE_CHECKING:
    from rich.console import Console

_ABSENT = object()


def config_differences(a: RunRecord, b: RunRecord) -> list[tuple[str, str, str]]:
    """Return dotted key and both values as YAML writes them; ``(none)`` for a missing key."""
    ours, theirs = (dict(leaves(run.config, in_lists=False)) for run in (a, b))
    return [(key, _shown(x), _shown(y)) for key, x, y in _differing(ours, theirs)]


def metric_differences(a: RunRecord, b: RunRecord) -> list[tuple[str, float, float]]:
    """Return metrics of the test part and the chosen checkpoint; nan for a missing value."""
    return [
        (key, math.nan if ours is _ABSENT else ours, math.nan if theirs is _ABSENT else theirs)
        for key, ours, theirs in _differing(_metrics(a), _metrics(b))
    ]


def show_differences(folders: tuple[Path, Path], console: "Console") -> None:
    """Print the differences of two runs.

    Raises:
        RunFolderError: a folder holds no readable record.
    """
    from rich import box
    from rich.table import Table

    a, b = map(RunRecord.read, folders)
    settings, metrics = config_differences(a, b), metric_differences(a, b)
    lines = [
        ("settings", ("setting", "a", "b"), settings),
        (
            "metrics",
            ("metric", "a", "b", "b - a"),
            [(m, _number(x), _number(y), _number(y - x, "+")) for m, x, y in metrics],
        ),
    ]
    for name, folder in zip("ab", folders, strict=True):
        console.print(printable(f"{name}: {folder}"), markup=False, highlight=False, soft_wrap=True)
    for what, header, rows in lines:
        if not rows:
            console.print(f"no {what} differ")
            continue
        table = Table(box=box.SIMPLE_HEAD)
        for title in header:
            table.add_column(title, overflow="fold")
        for row in rows:
            table.add_row(*map(as_cell, row))
        console.print(table)


def _differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    pairs = [(key, a.get(key, _ABSENT), b.get(key, _ABSENT)) for key in {**a, **b}]
    # They are compared as texts, since only as a text does nan equal nan.
    return [(key, x, y) for key, x, y in pairs if _shown(x) != _shown(y)]


def _metrics(record: RunRecord) -> dict[str, float]:
    test = {f"test/{name}": value for name, value in record.metrics.get("test", {}).items()}
    return {**test, **record.metrics.get("chosen", {})}


def _shown(value: Any) -> str:
    return "(none)" if value is _ABSENT else shown_value(value)


def _number(value: float, sign: str = "") -> str:
    return "-" if math.isnan(value) else f"{value:{sign}.6g}"
