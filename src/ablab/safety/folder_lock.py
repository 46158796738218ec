"""Lock the folder of a run or a plan, so that one process at a time writes to it."""

import contextlib
import fcntl
import json
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from ablab.errors import RunFolderError
from ablab.safety.atomic_files import read_file

_PATIENCE = 0.5  # seconds; ``is_locked`` of another process holds the lock for a moment


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock ``folder`` for this process; the system unlocks it however the process ends.

    Raises:
        RunFolderError: another process has locked it, or it cannot be opened.
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
    """Raise RunFolderError for a pipe in a run folder, and for a link that leads out of it.

    The folder can be a stranger's, and a run writes to the files that it finds there. Writing to a
    pipe would wait for a reader.
    """
    top = folder.resolve()
    for path, folders, files in os.walk(folder):
        for link in (Path(path, name) for name in [*folders, *files]):
            try:
                mode = link.lstat().st_mode
            except OSError:  # The run reports it, if it needs the file.
                continue
            if stat.S_ISFIFO(mode):
                raise RunFolderError(f"{link}: is a pipe, to which a run would write; remove it")
            if stat.S_ISLNK(mode) and not _leads_into(link, top):
                raise RunFolderError(
                    f"{link}: is a link that leads out of the run folder, to which a run would "
                    f"write; put a file or folder in its place, or remove it"
                )


def _leads_into(link: Path, top: Path) -> bool:
    try:
        link.stat()
    except FileNotFoundError:
        pass  # A run would make the file.
    except OSError:  # Links in a circle lead nowhere.
        return False
    return link.resolve().is_relative_to(top)


def is_locked(folder: Path) -> bool:
    """Return whether a living process has locked ``folder``; True if it cannot be opened."""
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
