"""One process at a time writes to the folder of a run or a plan."""

import contextlib
import fcntl
import json
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from lab.atomic import read_file
from lab.errors import RunFolderError

_PATIENCE = 0.5  # seconds; who only asks whether a folder is held, holds it for a moment


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold ``folder`` for this process; the system lets go of it however the process ends.

    Raises:
        RunFolderError: another process holds it, or it cannot be opened.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise RunFolderError(f"{folder}: cannot be opened ({error.strerror})") from error
    try:
        deadline = time.monotonic() + _PATIENCE
        while not _take(descriptor):
            if time.monotonic() > deadline:
                raise RunFolderError(
                    f"{folder}: a run is going on there{_holder(folder)}; wait for it, or stop it"
                )
            time.sleep(0.02)
        yield
    finally:
        os.close(descriptor)


def refuse_links(folder: Path) -> None:
    """Raise RunFolderError if a link in the run folder ``folder`` leads out of it, or for a pipe.

    The folder can be a stranger's, and a run writes to the files that it finds there; on a pipe it
    would wait for a reader.
    """
    top = folder.resolve()
    for path, folders, files in os.walk(folder):
        for link in (Path(path, name) for name in [*folders, *files]):
            try:
                mode = link.lstat().st_mode
            except OSError:  # which the run will meet as well, unless it does not need the file
                continue
            if stat.S_ISFIFO(mode):
                raise RunFolderError(f"{link}: is a pipe, to which a run would write; remove it")
            if stat.S_ISLNK(mode) and not _resolved(link).is_relative_to(top):
                raise RunFolderError(
                    f"{link}: is a link that leads out of the run folder, to which a run would "
                    f"write; put a file or folder in its place, or remove it"
                )


def _resolved(link: Path) -> Path:
    try:
        return link.resolve()
    except (OSError, RuntimeError):  # links in a circle lead nowhere
        return Path("/")


def is_claimed(folder: Path) -> bool:
    """Whether a living process holds ``folder``; of one that cannot be opened it may be so."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return True
    try:
        return not _take(descriptor)
    finally:
        os.close(descriptor)


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        pass
    return True


def _holder(folder: Path) -> str:
    for record in ("run.json", "plan.json"):
        try:
            process = json.loads(read_file(folder / record))["process"]
            return f" (process {process['pid']} on {process['host']})"
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue
    return ""
