"""The time since the program started."""

import time

_started: float | None = time.perf_counter()


def seconds_since_start() -> float:
    """From the program's start to the first call; 0 for the later jobs of a sweep."""
    global _started
    seconds = 0.0 if _started is None else time.perf_counter() - _started
    _started = None
    return seconds
