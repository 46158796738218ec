"""``python -m lab.report diff RUN_A RUN_B``: in what two runs differ, and nothing else."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.printable import as_cell, printable
from lab.record import RunRecord
from lab.report.collect import flat
from lab.report.comparison import shown_value

if TYPE_CHECKING:
    from rich.console import Console

_ABSENT = object()


def config_differences(a: RunRecord, b: RunRecord) -> list[tuple[str, str, str]]:
    """Dotted key and both values, as written in YAML; ``(none)`` where a config lacks the key."""
    return [
        (key, _shown(ours), _shown(theirs))
        for key, ours, theirs in _differing(dict(flat(a.config)), dict(flat(b.config)))
    ]


def metric_differences(a: RunRecord, b: RunRecord) -> list[tuple[str, float, float]]:
    """Metric of the test part or of the chosen checkpoint, and both values; nan where missing."""
    return [
        (key, math.nan if ours is _ABSENT else ours, math.nan if theirs is _ABSENT else theirs)
        for key, ours, theirs in _differing(_metrics(a), _metrics(b))
    ]


def show_differences(folders: tuple[Path, Path], console: "Console") -> None:
    """Print them.

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
    return [(key, x, y) for key, x, y in pairs if _shown(x) != _shown(y)]  # nan is nan


def _metrics(record: RunRecord) -> dict[str, float]:
    test = {f"test/{name}": value for name, value in record.metrics.get("test", {}).items()}
    return {**test, **record.metrics.get("chosen", {})}


def _shown(value: Any) -> str:
    return "(none)" if value is _ABSENT else shown_value(value)


def _number(value: float, sign: str = "") -> str:
    return "-" if math.isnan(value) else f"{value:{sign}.6g}"
