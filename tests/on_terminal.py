"""``train.py`` on a pseudo-terminal, and the screen that a person would see."""

import fcntl
import os
import pty
import select
import struct
import termios
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pyte

from tests import forked
from tests.launch import environment

_LINES = 30


class Screen:
    """What stands on a terminal of so many columns, with what has been scrolled away."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self._screen = pyte.HistoryScreen(columns, _LINES, history=10_000, ratio=1.0)
        self._stream = pyte.ByteStream(self._screen)

    def feed(self, data: bytes) -> None:
        self._stream.feed(data)

    def lines(self) -> list[str]:
        columns = range(self.columns)
        rolled = ["".join(row[x].data for x in columns) for row in self._screen.history.top]
        return [line.rstrip() for line in (*rolled, *self._screen.display)]

    def text(self) -> str:
        return "\n".join(self.lines()).rstrip()

    def colours(self) -> set[str]:
        cells = [cell for row in self._screen.buffer.values() for cell in row.values()]
        return {cell.fg for cell in cells} | {cell.bg for cell in cells}

    @property
    def cursor_is_hidden(self) -> bool:
        return self._screen.cursor.hidden


def watch(
    *overrides: str,
    cwd: Path,
    columns: int = 80,
    timeout: float = 100,
    look: Callable[[Screen, forked.Process], None] = lambda *_: None,
    **variables: str,
) -> tuple[int, Screen]:
    """Run ``python train.py OVERRIDES`` to its end; ``look`` is called whenever something shows."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", _LINES, columns, 0, 0))
    settings = {"TERM": "xterm-256color", **variables}
    screen, deadline = Screen(columns), time.monotonic() + timeout
    process = forked.Process(
        overrides, cwd, environment(**settings), partial(_take, os.ttyname(slave))
    )
    with process:
        try:
            while process.poll() is None or select.select([master], [], [], 0)[0]:
                assert time.monotonic() < deadline, screen.text()
                if select.select([master], [], [], 0.05)[0]:
                    screen.feed(os.read(master, 1 << 16))
                    look(screen, process)
        finally:
            if process.poll() is None:
                process.kill()
            os.close(slave)
            os.close(master)
        return process.wait(), screen


def _take(name: str) -> None:
    """Make the terminal called ``name`` that of this process, which leads a session without one."""
    descriptor = os.open(name, os.O_RDWR)
    for number in range(3):
        os.dup2(descriptor, number)
