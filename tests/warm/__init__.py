"""``python`` and ``ablab`` of a shell, in forks of one process that has imported torch.

Most of the time of a short command is its imports, and they are all that a fork leaves out. A
folder for the front of ``PATH`` holds a ``python`` and an ``ablab`` that hand their arguments,
working folder, environment and standard streams to this process, pass signals on to the fork, end
as it ends, and are killed together with it. Where the variable ``WARM_PYTHON`` names that
``python``, the fork takes it for its ``sys.executable``, and so starts its jobs by it. The ranks
that Lightning starts are real processes, since they end with their parent, which is another for a
fork, and so is a ``python`` with other options than ``-c``, ``-m`` and ``-u``.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PYTHON = "WARM_PYTHON"
HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
COMMANDS = {
    "python": """#!/bin/sh
[ "$1" = -u ] && shift  # torchrun's
case "$1" in
  -c|-m|*.py) [ "$ABLAB_MAIN_PROCESS" ] || exec "{bin}/python" -I -S "{client}" "{address}" "$@" ;;
esac
exec "{bin}/python" "$@"
""",
    "ablab": """#!/bin/sh
exec "{bin}/python" -I -S "{client}" "{address}" "{bin}/ablab" "$@"
""",
}


@contextmanager
def commands(folder: Path) -> Iterator[Path]:
    """Give a folder of the two commands, which work while the context lasts."""
    paths = {"bin": BIN, "client": HERE / "client.py", "address": folder / "socket"}
    (folder / "bin").mkdir()
    for name, text in COMMANDS.items():
        (folder / "bin" / name).write_text(text.format(**paths))
        (folder / "bin" / name).chmod(0o755)
    server = subprocess.Popen(
        [sys.executable, HERE / "server.py", paths["address"]],
        stdin=subprocess.PIPE,  # its end is that of the server
        stdout=subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )
    with server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        yield folder / "bin"
