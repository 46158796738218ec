"""``metrics.csv``: what a run measured while it trained, with a row for each report."""

import csv
import io
from pathlib import Path
from typing import Any

from ablab.errors import RunFolderError

FILE_NAME = "metrics.csv"


def read_history(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    """Return columns and rows of a history, cells as text; nothing if there is no file.

    A last row without a line end is left out: the run was killed while it wrote that row.

    Raises:
        RunFolderError: the file cannot be read, or is damaged in another way.
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
            f"{path}: is not the history of a run ({told}); remove it, and reports leave it out"
        ) from error
    return columns, rows
