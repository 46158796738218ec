"""One process at a time writes to a run folder."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path

from lab.errors import RunFolderError


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold ``folder`` for this process; the system lets go of it however the process ends.

    Raises:
        RunFolderError: another process holds it.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunFolderError(
                f"{folder}: a run is going on there{_holder(folder)}; wait for it, or stop it"
            ) from None
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(descriptor)


def is_claimed(folder: Path) -> bool:
    """Whether a process holds ``folder``, so that a record ``running`` is true."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks: believe the record
        return True
    finally:
        os.close(descriptor)
    return False


def _holder(folder: Path) -> str:
    try:
        process = json.loads((folder / "run.json").read_text())["process"]
        return f" (process {process['pid']} on {process['host']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
