"""A drawn picture and the names in it; importing this imports no matplotlib."""

from dataclasses import dataclass

_LONGEST_NAME = 44


@dataclass(frozen=True)
class Picture:
    """A drawn picture; ``svg`` is the content of its file, ``seen`` the numbers that it shows."""

    title: str
    caption: str
    svg: bytes
    seen: str = ""


def shortened(name: str) -> str:
    """Return a name short enough for a picture, with its middle cut out if it is too long."""
    name = " ".join(name.split()) or "all"
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[: _LONGEST_NAME // 2]}…{name[-_LONGEST_NAME // 2 + 1 :]}"
