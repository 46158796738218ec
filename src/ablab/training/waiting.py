"""Watch a process that waits for the other ranks: it waits in C++, where no Python handler runs.

Until the other ranks have come, or when one of them has stopped without ending, torch waits for
minutes, and a signal in that time would only be met by its handler when the waiting is over.
"""

import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from lightning.pytorch import Trainer

from ablab import terminal
from ablab.safety.signals import Interruption, RunInterrupted
from ablab.training.launched import MAIN_PROCESS
from ablab.training.ranks import is_main_process, launched_by
from ablab.training.run import Run, say_how_to_continue

NOTICE = 10.0  # seconds before the log says what the run is waiting for
PATIENCE = 20.0  # seconds for a rank to end by itself after a signal; torchrun kills after 30
AT_ONCE = 1.0  # the same after a second signal, and where no rank has done anything yet


def watched_fit(run: Run, trainer: Trainer) -> AbstractContextManager[None]:
    """Return a context that watches over a fit of several processes, which may wait for each other.

    A line says so if they have not met after some seconds; a signal ends a process that waits.
    """
    if trainer.world_size == 1:
        return nullcontext()
    starts_them = not launched_by().creates_processes_externally
    if starts_them:
        os.environ[MAIN_PROCESS] = str(os.getpid())  # for the processes that Lightning will start

    def notice() -> None:
        if trainer.local_rank == 0 and (trainer.num_nodes > 1 or not starts_them):
            print(  # noqa: T201
                f"waiting for the other processes of this run ({trainer.world_size} in all) at "
                f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}; Ctrl-C stops it",
                file=sys.stderr,
            )

    def give_up(number: int) -> None:
        run.record.end("interrupted", 128 + number)
        if is_main_process():
            run.record.write(run.folder)
        terminal.say("The run was stopped while it waited for its other processes.")
        say_how_to_continue(RunInterrupted(number), run.folder)

    return watched(run.interruption, notice=notice, give_up=give_up)


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
