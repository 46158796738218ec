"""The jobs that are running, on a terminal: since when, on which GPUs, and how far they are."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.live import Live
from rich.table import Table

from lab.ablation.listing import JobLines, describe, duration
from lab.atomic import read_file
from lab.printable import as_cell
from lab.record import RunRecord

_INTERVAL = 0.5  # seconds between two drawings


class LiveTable:
    """Stands below the lines of the jobs that have ended; nothing where there is no terminal."""

    def __init__(self, lines: JobLines) -> None:
        self._lines = lines
        self._live = Live(console=lines.console, auto_refresh=False, transient=True)
        self._records: dict[Path, RunRecord] = {}
        self._drawn = 0.0

    def __enter__(self) -> "LiveTable":
        if self._lines.console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._lines.console.is_terminal:
            self._live.stop()

    def update(self, running: Mapping[Path, Sequence[str]]) -> None:
        """``running``: the folders of jobs, with their GPUs."""
        now = time.monotonic()
        if self._lines.console.is_terminal and now - self._drawn >= _INTERVAL:
            self._drawn = now
            self._live.update(self._table(running, now), refresh=True)

    def _table(self, running: Mapping[Path, Sequence[str]], now: float) -> Table:
        lines = self._lines
        waiting = lines.total - lines.ended - len(running)
        left = lines.seconds_left()
        counts = f"{len(running)} running, {waiting} waiting, {lines.ended - lines.failed} done"
        counts += f", {lines.failed} failed" if lines.failed else ""
        table = Table(caption=counts + ("" if left is None else f"; about {duration(left)} left"))
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
        return table


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
