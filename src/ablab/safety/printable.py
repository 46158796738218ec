"""Text from data and configs, made safe to show: a terminal obeys control characters."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Return ``text`` with control characters written as ``\\x1b``; tabs and line ends stay."""
    return _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)


def in_a_line(text: str) -> str:
    """Return ``printable(text)`` with tabs and line ends written out too, for a table's cell."""
    return printable(text).replace("\n", r"\n").replace("\t", r"\t")


def relative(path: Path) -> Path:
    """Return ``path`` as a user would type it: from the working folder, if it is below it."""
    try:
        here = Path.cwd()
    except FileNotFoundError:  # It has been removed.
        return path
    return path.relative_to(here) if path.is_relative_to(here) else path


def as_cell(text: str) -> "Text":
    """Return ``in_a_line(text)`` for a cell of rich's tables, with brackets that are not markup."""
    from rich.text import Text  # slow to import, and checking a config does not need it

    return Text(in_a_line(text))
