"""The time since the program started, which a run counts as part of its own."""

import time

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
