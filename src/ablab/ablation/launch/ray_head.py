"""Notice that the head of a Ray cluster is lost, which Ray itself reports a minute later."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

_POLL = 5.0  # seconds
_FAILURES = 2  # failed attempts to reach the head before a warning


@contextlib.contextmanager
def watched_head(address: str, say: Callable[[str], object]) -> Iterator[None]:
    """In the block, print a line when the head is lost: Ray waits for it, then ends this process.

    The block ends before a head that was started for this sweep is stopped.
    """
    ended = threading.Event()
    threading.Thread(target=_watch_head, args=(address, say, ended), daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _watch_head(address: str, say: Callable[[str], object], ended: threading.Event) -> None:
    host, _, port = address.rpartition(":")
    failures = 0
    while failures < _FAILURES:
        if ended.wait(_POLL):
            return
        try:
            socket.create_connection((host, int(port)), timeout=_POLL).close()
            failures = 0
        except OSError:
            failures += 1
    say(
        f"the head of the Ray cluster ({address}) does not answer; if it does not come back, Ray "
        f"ends this sweep within a minute or two, and the same command continues it on another "
        f"cluster"
    )
