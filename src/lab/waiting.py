"""Watch a process that waits for the other ranks: it waits in C++, where no Python handler runs.

Until the other ranks have come, or when one of them has stopped without ending, torch waits for
minutes, and a signal in that time would only be met by its handler when the waiting is over.
"""

import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from lab.interruption import Interruption

NOTICE = 10.0  # seconds after which it is said what is waited for
PATIENCE = 20.0  # seconds for a rank to end by itself after a signal; torchrun kills after 30
AT_ONCE = 1.0  # the same after a second signal, and where no rank has done anything yet


@contextmanager
def watched(
    interruption: Interruption, *, notice: Callable[[], None], give_up: Callable[[int], None]
) -> Iterator[None]:
    """Watch over a block in which ranks meet and train; to be entered in the main thread.

    Args:
        notice: called once if the ranks have not met after ``NOTICE`` seconds.
        give_up: called with the signal that has come, in another thread, before this process is
            ended without having answered it.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    previous = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    watch = threading.Thread(
        target=_watch, args=(reader, interruption, notice, give_up), daemon=True
    )
    watch.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(previous)
        writer.close()  # which ends the thread
        watch.join()
        reader.close()


def _watch(
    reader: socket.socket,
    interruption: Interruption,
    notice: Callable[[], None],
    give_up: Callable[[int], None],
) -> None:
    number, ends_at, notice_at = None, None, time.monotonic() + NOTICE
    while True:
        due = [moment for moment in (ends_at, notice_at) if moment is not None]
        left = max(0.0, min(due) - time.monotonic()) if due else None
        if select.select([reader], [], [], left)[0]:
            received = reader.recv(1)
            if not received:
                return
            if not interruption.takes(received[0]):
                continue
            patience = AT_ONCE if number or not torch.distributed.is_initialized() else PATIENCE
            number, ends_at = received[0], time.monotonic() + patience
        elif notice_at is not None and time.monotonic() >= notice_at:
            notice_at = None
            if not torch.distributed.is_initialized():
                notice()
        elif number is not None:
            if interruption.has_raised:
                ends_at = None
                continue
            try:
                give_up(number)
            finally:
                os._exit(128 + number)
