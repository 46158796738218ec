"""Signals as a request to stop at the next safe point, with the exit status that they have.

Ctrl-C, SIGTERM, SIGHUP, which comes when a terminal closes, and SIGUSR1, which SLURM sends some
time before it ends a job, if asked to.

Lightning turns both into exit statuses that look like a crash (1) or like success (0), and an
interrupt in the middle of an optimiser step would leave a state that no undisturbed run passes.
"""

import ctypes
import os
import signal
import sys
import threading
from types import FrameType, TracebackType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
_MAY_BE_IGNORED = (signal.SIGHUP, signal.SIGUSR1)
_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


class RunInterrupted(BaseException):
    """A signal asked the run to stop.

    Not an ``Exception``: a sweep that is told to stop must not go on to its next job.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(signal_number).name}")
        self.exit_code = 128 + signal_number


class Interruption:
    """Handles signals for a ``with`` block: raises at once, or at the next ``raise_if_requested``.

    While ``deferred`` is true a first signal is only remembered; a second one raises at once. A
    SIGHUP or SIGUSR1 that is ignored already, as under ``nohup``, stays ignored.

    Some libraries turn whatever is raised within them into an error of their own (torch where it
    writes a file). If a signal has raised, such an error leaves the block as ``RunInterrupted``.

    Args:
        at_once: what is raised by a signal itself; libraries that wait in C take nothing but a
            KeyboardInterrupt.
    """

    def __init__(self, at_once: type[BaseException] = RunInterrupted) -> None:
        self.at_once = at_once
        self.deferred = False
        self.requested: int | None = None
        self.has_raised = False
        self._previous: dict[int, signal._HANDLER] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            handlers: dict[int, signal._HANDLER] = {n: signal.getsignal(n) for n in STOP_SIGNALS}
            for number in _MAY_BE_IGNORED:
                if handlers[number] is signal.SIG_IGN:
                    del handlers[number]
            self._previous = handlers
            self.install()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        if isinstance(error, Exception) and (stop := self.stop_behind(error)):
            raise stop

    def stop_behind(self, error: BaseException) -> RunInterrupted | None:
        """Return the interruption that ``error`` is or has come of; None if it is an error."""
        if isinstance(error, RunInterrupted):
            return error
        if self.has_raised and self.requested is not None:
            return RunInterrupted(self.requested)
        return None

    def install(self) -> None:
        """Take the signals (again: Lightning puts its own handler in when a fit starts)."""
        if threading.current_thread() is threading.main_thread():
            for number in self._previous:
                signal.signal(number, self._handle)

    def takes(self, number: int) -> bool:
        """Return whether signal ``number`` asks the run to stop."""
        return number in self._previous

    def raise_if_requested(self) -> None:
        """Raise ``RunInterrupted`` if a signal has come."""
        if self.requested is not None:
            self.has_raised = True
            raise RunInterrupted(self.requested)

    def _handle(self, number: int, _: FrameType | None) -> None:
        first = self.requested is None
        self.requested = number
        if not (self.deferred and first):
            self.has_raised = True
            raise self.at_once(number)


def end_with_parent(parent: int, number: int) -> None:
    """From now on this process gets signal ``number`` when its parent ends (on Linux; else never).

    Args:
        parent: the parent's process id; the signal comes at once if it has ended already.
    """
    if _prctl is None:
        return
    _prctl(_SET_PARENT_DEATH_SIGNAL, number)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)
