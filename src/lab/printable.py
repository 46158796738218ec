"""Text from data and configs, made safe to show: a terminal obeys control characters."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """``text`` with control characters written out, ``\\x1b``; tabs and line ends stay."""
    return _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)


def in_a_line(text: str) -> str:
    """``printable``, with tabs and line ends written out as well: for a cell of a table."""
    return printable(text).replace("\n", r"\n").replace("\t", r"\t")


def as_cell(text: str) -> "Text":
    """Return ``in_a_line`` for a cell of a table of ``rich``, in which brackets are no markup."""
    from rich.text import Text  # the check of a config does without it

    return Text(in_a_line(text))
