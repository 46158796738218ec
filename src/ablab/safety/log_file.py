"""The log of a run, ``run.log``."""

import contextlib
import logging
import sys


class LogFile(logging.FileHandler):
    """A log that costs a run nothing where it cannot be written.

    Python's own would raise on a read-only disk, and print a traceback for each line on a full one.
    """

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):  # of opening the file, which waits for the first line
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)
