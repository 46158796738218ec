"""The log of a run, ``run.log``."""

import contextlib
import logging
import sys


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
