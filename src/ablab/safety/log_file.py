"""The log of a run, ``run.log``."""

import contextlib
import logging
import sys
from pathlib import Path
from typing import TextIO


def open_log(folder: Path) -> TextIO:
    """Open the log of the run in ``folder`` for further lines, of any text: also names of files."""
    path = folder / "run.log"
    return path.open("a", buffering=1, encoding="utf-8", errors="backslashreplace")


class LogFile(logging.FileHandler):
    """A log handler that never fails a run.

    Python's own raises on a read-only disk, and prints a traceback for each line on a full one.
    """

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):  # The file is opened at the first line.
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)
