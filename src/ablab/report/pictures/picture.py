"""A drawn picture and the names in it; importing this imports no matplotlib."""

from collections.abc import Callable
from dataclasses import dataclass

_LONGEST_NAME, _LONGEST_IN_A_COLUMN = 44, 26
PAGE = 7.2  # inches: the width of a picture on a page


def _no_pdf() -> bytes:
    return b""


@dataclass(frozen=True)
class Picture:
    """A drawn picture; ``svg`` is the content of its file, ``seen`` the numbers that it shows.

    ``pdf`` draws the same as PDF, and is called for figures of a paper alone.
    """

    title: str
    caption: str
    svg: bytes
    seen: str = ""
    pdf: Callable[[], bytes] = _no_pdf


def shortened(name: str, width: float = PAGE) -> str:
    """Return a name short enough for a picture, with its middle cut out if it is too long."""
    most = _LONGEST_NAME if width >= PAGE else _LONGEST_IN_A_COLUMN
    name = " ".join(name.split()) or "all"
    return name if len(name) <= most else f"{name[: most // 2]}…{name[-most // 2 + 1 :]}"
