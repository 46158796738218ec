"""The jobs that are running, on a terminal: since when, on which GPUs, and how far they are."""

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from lab.ablation.listing import JobLines, describe, duration
from lab.atomic import read_file
from lab.printable import as_cell, in_a_line
from lab.record import RunRecord
from lab.surroundings import is_live_terminal

_INTERVAL = 0.5  # seconds between two drawings


class LiveTable:
    """Stands below the lines of the jobs that have ended; nothing where there is no terminal."""

    def __init__(self, lines: JobLines) -> None:
        self._lines = lines
        self._shown = is_live_terminal()
        self._live = Live(console=lines.console, auto_refresh=False, transient=True)
        self._records: dict[Path, RunRecord] = {}
        self._drawn = 0.0

    def __enter__(self) -> "LiveTable":
        if self._shown:
            self._live.start()
            self._lines.console.show_cursor(True)  # a sweep that is killed would leave it hidden
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._shown:
            self._live.stop()

    def update(self, running: Mapping[Path, Sequence[str]]) -> None:
        """``running``: the folders of jobs, with their GPUs."""
        now = time.monotonic()
        if self._shown and now - self._drawn >= _INTERVAL:
            self._drawn = now
            self._live.update(self._table(running, now), refresh=True)

    def _table(self, running: Mapping[Path, Sequence[str]], now: float) -> Group:
        lines = self._lines
        waiting = lines.total - lines.ended - len(running)
        left = lines.seconds_left()
        counts = f"{len(running)} running, {waiting} waiting, {lines.ended - lines.failed} done"
        counts += f", {lines.failed} failed" if lines.failed else ""
        counts += "" if left is None else f"; about {duration(left)} left"
        table = Table()
        on_gpus = any(running.values())
        for name in ("running", *(["GPU"] if on_gpus else []), "for", "at"):
            table.add_column(name, justify="right" if name == "for" else "left")
        for folder, gpus in running.items():
            if folder not in self._records:
                self._records[folder] = RunRecord.read(folder)
            record = self._records[folder]
            cells = [describe(record), *([",".join(gpus)] if on_gpus else [])]
            cells += [duration(now - lines.begun[folder]), position(folder, record.config)]
            table.add_row(*map(as_cell, cells))
        return Group(table, counts)  # as the table's caption, it would be wrapped to its width


@contextmanager
def live_line(lines: JobLines, folder: Path) -> Iterator[None]:
    """On a terminal, show in a line how far the one job is that runs in this process.

    The line has a console and a thread of its own: what the job prints goes into its log, and the
    job does not know that it is watched.
    """
    if not is_live_terminal():
        yield
        return
    terminal, record = Console(file=sys.stdout, highlight=False), RunRecord.read(folder)
    job = f"{lines.count(lines.ended + 1)}{describe(record)}"

    def line() -> Text:
        taken = duration(time.monotonic() - lines.begun[folder])
        left = lines.seconds_left()
        told = f"{job}  {position(folder, record.config)}  {taken}"
        told += "" if left is None else f"  (about {duration(left)} left)"
        log = f"  log: {os.path.relpath(folder)}/run.log"
        told += log if len(told) + len(log) < terminal.width else ""
        return Text(in_a_line(told), no_wrap=True, overflow="ellipsis")

    with Live(
        console=terminal,
        get_renderable=line,
        refresh_per_second=1 / _INTERVAL,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    ):
        terminal.show_cursor(True)
        yield


def position(folder: Path, config: Mapping[str, Any]) -> str:
    """``epoch 3/10, step 78``: that of the newest checkpoint."""
    manifest = folder / "checkpoints" / "manifest.json"
    try:
        newest = json.loads(read_file(manifest))["checkpoints"][-1]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return "starting"
    of = sum(phase["epochs"] for phase in config["phases"].values())
    of = of or config["trainer"].get("max_epochs")
    # epochs are counted from 0 there
    return f"epoch {newest['epoch'] + 1}{f'/{of}' if of else ''}, step {newest['step']}"
