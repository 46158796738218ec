"""``metrics.csv``: what a run measured on its way, a row for each report."""

import csv
import io
from pathlib import Path
from typing import Any

FILE_NAME = "metrics.csv"


def read_history(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    """Columns and rows of a history, cells as text; a last row that is cut short is left out."""
    if not path.is_file():
        return [], []
    with path.open(newline="", encoding="utf-8") as file:
        text = file.read()
    whole = text[: text.rfind("\n") + 1]
    reader = csv.reader(io.StringIO(whole, newline=""))
    columns = next(reader, [])
    rows = [
        dict(zip(columns, cells, strict=True)) for cells in reader if len(cells) == len(columns)
    ]
    return columns, rows
