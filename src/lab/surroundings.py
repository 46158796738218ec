"""What a shell or a scheduler leaves around a command, made harmless at the command's start."""

import io
import os
import sys
from contextlib import suppress
from typing import Any, TextIO


def settle_surroundings() -> None:
    """Make plots independent of a window system, and every standard stream one that can be used.

    torchmetrics imports matplotlib, which raises where ``MPLBACKEND`` is none that it knows. A
    standard stream that is closed has its number taken by the next file that is opened, into which
    whatever is printed would then go. One that cannot show a character shows ``?`` for it.
    """
    os.environ["MPLBACKEND"] = "Agg"
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, so this one
            os.set_inheritable(number, True)
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # of what is flushed ahead of it
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")
    sys.stderr = _unheeded(sys.stderr)


def is_live_terminal() -> bool:
    """Return whether what is shown can be drawn over: not in a file, and not in a notebook, which
    makes ``!python …`` believe that it has a terminal."""
    can_move = os.environ.get("TERM", "").lower() not in ("dumb", "unknown")
    return sys.stdout.isatty() and can_move and "JPY_PARENT_PID" not in os.environ


def train_unheeded() -> None:
    """From here on, what cannot be printed is left out: a run does not depend on its listener."""
    sys.stdout = _unheeded(sys.stdout)


class _Unheeded(io.FileIO):
    def write(self, data: Any) -> int | None:
        with suppress(OSError):
            return super().write(data)
        return memoryview(data).nbytes


def _unheeded(stream: TextIO) -> TextIO:
    """Return ``stream`` with a full device or a closed pipe no error; one of no file as it is."""
    try:
        number = stream.fileno()
    except OSError:
        return stream
    file = _Unheeded(number, "wb", closefd=False)
    at_once = bool(getattr(stream, "write_through", False))  # python -u
    return io.TextIOWrapper(
        file if at_once else io.BufferedWriter(file),  # type: ignore[arg-type]  # as Python does
        stream.encoding,
        "replace",
        line_buffering=bool(stream.line_buffering),
        write_through=at_once,
    )
