"""``metrics.csv``: what a run measured on its way, a row for each report."""

import csv
import io
from pathlib import Path
from typing import Any

from lab.errors import RunFolderError

FILE_NAME = "metrics.csv"


def read_history(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    """Columns and rows of a history, cells as text; a last row that is cut short is left out.

    Raises:
        RunFolderError: the file is damaged otherwise.
    """
    try:
        if not path.is_file():
            return [], []
        whole = path.read_bytes().rpartition(b"\n")[0].decode()
        reader = csv.reader(io.StringIO(whole, newline=""))
        columns = next(reader, [])
        rows = [
            dict(zip(columns, cells, strict=True)) for cells in reader if len(cells) == len(columns)
        ]
        for row in rows:
            int(row["step"])
    except OSError as error:
        raise RunFolderError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, csv.Error) as error:
        told = "no column step" if isinstance(error, KeyError) else error
        raise RunFolderError(
            f"{path}: is not the history of a run ({told}); remove it, and reports do without"
        ) from error
    return columns, rows
