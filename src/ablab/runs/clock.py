"""The time and the memory of this process that a run counts as its own."""

import contextlib
import resource
import sys
import time
from pathlib import Path

_started: float | None = None


def start() -> None:
    """Remember that the program starts now."""
    global _started
    _started = time.perf_counter()


def seconds_since_start() -> float:
    """Return the seconds from ``start`` to the first call; 0 for the later jobs of a sweep."""
    global _started
    seconds = 0.0 if _started is None else time.perf_counter() - _started
    _started = None
    return seconds


def peak_memory() -> int:
    """Return the largest memory of this process so far, in bytes, mapped files included."""
    # On Linux, getrusage would also count the memory of the parent when it started this process.
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 2**10
    unit = 1 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
