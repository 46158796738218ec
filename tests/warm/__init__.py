"""``python`` and ``ablab``, in forks of one process that has imported torch.

Most of the time of a short command is its imports; a fork leaves them out, and the reading of the
project's config files. The workers of pytest-xdist share the process and are forks of it; without
them, the first test that needs it starts it. ``tests.forked`` starts ``train.py`` in a fork. For
shells there is a folder for the front of ``PATH`` with a ``python`` and an ``ablab`` that hand over
their arguments, working folder, environment and standard streams, pass signals on to the fork, end
as it ends, and are killed together with it. Where the variable ``WARM_PYTHON`` names that
``python``, the fork takes it for its ``sys.executable``, and so starts its jobs and ranks by it. A
``python`` with other options than ``-c``, ``-m`` and ``-u`` is a real process.
"""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

PYTHON = "WARM_PYTHON"
_FOLDER = "WARM_FOLDER"
_HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
_COMMANDS = {
    "python": """#!/bin/sh
[ "$1" = -u ] && shift  # torchrun's
case "$1" in
  -c|-m|*.py) exec "{bin}/python" -I -S "{client}" "{address}" "$@" ;;
esac
exec "{bin}/python" "$@"
""",
    "ablab": """#!/bin/sh
exec "{bin}/python" -I -S "{client}" "{address}" "{bin}/ablab" "$@"
""",
}


@contextmanager
def shared() -> Iterator[None]:
    """Share one server, if it is needed, among this process and those that it starts."""
    with TemporaryDirectory() as folder:
        (Path(folder) / "owner").write_text(str(os.getpid()))
        (Path(folder) / "kept").mkdir()
        os.environ[_FOLDER] = folder
        yield


def address() -> Path:
    """Return the server's socket; start the server if nobody has."""
    return _folder() / "socket"


def commands() -> Path:
    """Return a folder of the two commands."""
    return _folder() / "bin"


def kept() -> Path:
    """Return a folder for what all processes of a session may use once one has made it."""
    return Path(os.environ[_FOLDER]) / "kept"


def _folder() -> Path:
    folder = Path(os.environ[_FOLDER])
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "bin").exists():
            _start_server(folder)
            _write_commands(folder)
    return folder


def _start_server(folder: Path) -> None:
    subprocess.run(
        [sys.executable, _HERE / "server.py", folder / "socket", (folder / "owner").read_text()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        start_new_session=True,  # Ctrl-C is for pytest, with which it ends
        check=True,
    )


def _write_commands(folder: Path) -> None:
    paths = {"bin": BIN, "client": _HERE / "client.py", "address": folder / "socket"}
    (folder / "bin").mkdir()
    for name, text in _COMMANDS.items():
        (folder / "bin" / name).write_text(text.format(**paths))
        (folder / "bin" / name).chmod(0o755)
