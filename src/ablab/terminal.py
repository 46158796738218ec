"""Print to the terminal, on rank 0 only; say in words how long something takes."""

import functools
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.text import Text

from ablab.safety.printable import in_a_line, printable
from ablab.safety.streams import is_live_terminal


@functools.cache
def console() -> Console:
    """Return the console of this process, made when it is first needed: it looks at the terminal
    then. It is one, since a live table makes way for what is printed on the same console only."""
    return Console(highlight=False)


def say(text: str, *, whole: bool = False) -> None:
    """Show ``text``; on a terminal its lines end between words.

    Args:
        whole: leave that to the terminal, so that a path or a command is copied in one piece.
    """
    from lightning.pytorch.utilities import rank_zero_only  # imports torch

    soft_wrap = whole or not console().is_terminal
    print_it = functools.partial(console().print, markup=False, soft_wrap=soft_wrap)
    rank_zero_only(print_it)(printable(text))


@contextmanager
def live() -> Iterator[Live]:
    """Keep what is drawn below all that is printed or logged meanwhile, and erase it in the end."""
    stdout = sys.stdout
    with Live(
        console=console(),
        auto_refresh=False,  # a thread of its own would cost the training more
        transient=True,
        redirect_stderr=sys.stderr.isatty(),
    ) as shown:
        console().show_cursor(True)  # a run that is killed would leave it hidden
        moved = [
            (handler, handler.setStream(sys.stdout))
            for handler in logging.getLogger().handlers
            if isinstance(handler, logging.StreamHandler) and handler.stream is stdout
        ]
        try:
            yield shown
        finally:
            for handler, stream in moved:
                handler.setStream(stream)


@contextmanager
def doing(text: str) -> Iterator[None]:
    """Show on a terminal what a run does while nothing else shows it; rank 0 only."""
    if not is_live_terminal():
        yield
        return
    with live() as shown:
        shown.update(Text(in_a_line(f"{text} …"), no_wrap=True, overflow="ellipsis"), refresh=True)
        yield


def duration(seconds: float) -> str:
    """Return a time that was measured: ``12.3 s``, ``5 min``, ``1.5 h``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def about(seconds: float) -> str:
    """Return an estimate with no more digits than it deserves: ``about 50 s``, ``about 7 min``."""
    if seconds >= 3600:
        return f"about {seconds / 3600:.1f} h"
    if seconds >= 95:
        return f"about {seconds / 60:.0f} min"
    step = 1 if seconds < 10 else 5 if seconds < 30 else 10
    return f"about {max(step * round(seconds / step), 1)} s"
