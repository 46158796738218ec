"""Print to the terminal, on rank 0 only."""

import functools

from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console

from ablab.safety.printable import printable


@functools.cache
def console() -> Console:
    """Return the console of this process, made when it is first needed: it looks at the terminal
    then. It is one, since a live table makes way for what is printed on the same console only."""
    return Console(highlight=False)


@rank_zero_only
def say(text: str, *, whole: bool = False) -> None:
    """Show ``text``; on a terminal its lines end between words.

    Args:
        whole: leave that to the terminal, so that a path or a command is copied in one piece.
    """
    soft_wrap = whole or not console().is_terminal
    console().print(printable(text), markup=False, soft_wrap=soft_wrap)
