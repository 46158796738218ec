"""Write files so that each is whole, old or new, even after ``kill -9`` or on a full disk."""

import contextlib
import errno
import functools
import json
import os
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """Open a binary file that replaces ``path`` when the block ends, and is removed if it raises.

    The temporary file is in the same folder, since a move across file systems is a copy, which can
    be cut short. The data are on the disk before the file gets its name.
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
    """Return whether a file exists; True if its folder may not be read by this user."""
    try:
        return path.exists()
    except PermissionError:
        return True


def read_file(path: Path) -> bytes:
    """Return the content of a regular file; raise OSError for any other, or if it is unreadable."""
    refuse_special(path)
    return path.read_bytes()


def refuse_special(path: Path) -> None:
    """Raise OSError unless ``path`` is a regular file: reading a pipe or device may never end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as JSON, atomically."""
    with atomic_write(path) as file:
        file.write(json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n")


def write_yaml(path: Path, value: Any) -> None:
    """Write ``value`` as YAML, atomically, in the style of OmegaConf."""
    import yaml

    text = yaml.dump(value, Dumper=_dumper(), allow_unicode=True, sort_keys=False)
    with atomic_write(path) as file:
        file.write(text.encode())


@functools.cache
def _dumper() -> Any:
    """Return a class that writes YAML as OmegaConf does, in C where PyYAML has it."""
    import yaml
    from omegaconf._utils import get_omega_conf_dumper

    class Dumper(getattr(yaml, "CDumper", yaml.Dumper)):  # pyright: ignore[reportGeneralTypeIssues]
        def ignore_aliases(self, data: Any) -> bool:
            return True

    Dumper.add_representer(str, get_omega_conf_dumper().str_representer)
    return Dumper


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that a killed process left in ``folder``, if permissions allow."""
    for path in folder.glob(".*.part"):
        with contextlib.suppress(OSError):
            path.unlink()
