"""Files that are either as they were or wholly new, also after ``kill -9`` or a full disk."""

import contextlib
import errno
import json
import os
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that takes ``path``'s place when the block ends, and vanishes if it raises.

    The temporary file lies in the same folder: a move across file systems would be a copy, which
    can be cut short. Data reach the disk before the name does.
    """
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def is_there(path: Path) -> bool:
    """Return whether a file exists; also of one in a folder that this user may not look into."""
    try:
        return path.exists()
    except PermissionError:
        return True


def read_file(path: Path) -> bytes:
    """Return the content of a regular file. Raise OSError if it cannot be read, or is none."""
    refuse_special(path)
    return path.read_bytes()


def refuse_special(path: Path) -> None:
    """Raise OSError for a pipe or a device, on which reading might never end, and for a folder."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))


def write_json(path: Path, value: Any) -> None:
    with atomic_write(path) as file:
        file.write(json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n")


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files that a killed process left in ``folder``, where that is allowed."""
    for path in folder.glob(".*.part"):
        with contextlib.suppress(OSError):
            path.unlink()
