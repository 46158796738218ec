"""Make a command independent of the environment variables and streams that it starts with."""

import io
import os
import sys
from contextlib import suppress
from typing import Any, TextIO


def prepare_streams() -> None:
    """Choose matplotlib's backend for files, and open the standard streams that are closed.

    torchmetrics imports matplotlib, which raises for a value of ``MPLBACKEND`` that it does not
    know. The number of a closed standard stream goes to the next file that is opened, and whatever
    is printed would go into that file. A stream that cannot show a character shows ``?`` for it.
    """
    os.environ["MPLBACKEND"] = "Agg"
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # The system gives the lowest free number: this one.
            os.set_inheritable(number, True)
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # Text that waits is flushed first, which a full device refuses.
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")
    sys.stderr = _without_errors(sys.stderr)


def is_live_terminal() -> bool:
    """Return whether lines can be drawn over: not in a file, and not in a notebook.

    A notebook makes ``!python …`` believe that it has a terminal.
    """
    can_move = os.environ.get("TERM", "").lower() not in ("dumb", "unknown")
    return sys.stdout.isatty() and can_move and "JPY_PARENT_PID" not in os.environ


def drop_output_errors() -> None:
    """Drop output that cannot be printed from now on: a run outlives its terminal."""
    sys.stdout = _without_errors(sys.stdout)


def end_output() -> None:
    """Write the output that waits; discard what cannot be written.

    Python would try to write it again as it ends, and change the exit status to 120.
    """
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _WithoutErrors(io.FileIO):
    """A file that drops what it cannot write."""

    def write(self, data: Any) -> int | None:
        with suppress(OSError):
            return super().write(data)
        return memoryview(data).nbytes


def _without_errors(stream: TextIO) -> TextIO:
    """Return ``stream`` without errors of a full device or a closed pipe.

    A stream that is not of a file is returned as it is.
    """
    try:
        number = stream.fileno()
    except OSError:
        return stream
    file = _WithoutErrors(number, "wb", closefd=False)
    at_once = bool(getattr(stream, "write_through", False))  # python -u
    return io.TextIOWrapper(
        file if at_once else io.BufferedWriter(file),  # type: ignore[arg-type]  # as Python does
        stream.encoding,
        "replace",
        line_buffering=bool(stream.line_buffering),
        write_through=at_once,
    )
