"""A table of the running jobs on a terminal: their GPUs, their times and how far they are."""

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from ablab.ablation.launch.job_lines import JobLines, Reached
from ablab.safety.atomic_files import read_file
from ablab.safety.printable import as_cell
from ablab.terminal import duration

_INTERVAL = 0.5  # seconds between two drawings
_MOST_JOBS = 12
_BAR = 16  # characters
_ROOM_FOR_BAR = 70


class LiveTable:
    """A live table below the lines of ended jobs; without a terminal it does nothing.

    What the jobs print goes into their logs, and they do not know that they are watched.

    Args:
        by_itself: draw in a thread, for jobs that run in this process; otherwise in ``update``.
    """

    def __init__(self, lines: JobLines, *, by_itself: bool) -> None:
        self._lines = lines
        self._live = Live(
            console=lines.console,
            get_renderable=self._table,
            auto_refresh=by_itself,
            refresh_per_second=1 / _INTERVAL,
            transient=True,
            redirect_stderr=sys.stderr.isatty(),
        )
        # Or the table, drawn in between with another height, could cover the line.
        lines.drawing = self._live._lock
        self._drawn = 0.0

    def __enter__(self) -> "LiveTable":
        if self._lines.is_live:
            self._live.start(refresh=True)
            self._lines.console.show_cursor(True)  # a sweep that is killed would leave it hidden
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._lines.is_live:
            self._live.stop()

    def update(self) -> None:
        """Draw the table, if it is time to."""
        now = time.monotonic()
        if self._lines.is_live and now - self._drawn >= _INTERVAL:
            self._drawn = now
            self._live.refresh()

    def _table(self) -> Group:
        lines = self._lines
        # A stack has one row.
        rows = {job.stack or folder: (folder, job) for folder, job in list(lines.running.items())}
        jobs = list(rows.values())
        on_gpus = any(job.gpus for _, job in jobs)
        has_bar = lines.console.width >= _ROOM_FOR_BAR
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
        table.add_column("running")  # the only one that is folded where there is little room
        for name in (*(["GPU"] if on_gpus else []), "for", *([""] if has_bar else []), "trained"):
            table.add_column(name, no_wrap=True, justify="right" if name == "for" else "left")
        for folder, job in jobs[:_MOST_JOBS]:
            reached = job.reached or read_reached(folder, job.config)
            job.note(0.0 if reached is None else reached.share)
            bar = ProgressBar(total=1.0, completed=job.share, width=_BAR) if has_bar else None
            table.add_row(
                as_cell(job.stack or job.label),
                *([",".join(job.gpus)] if on_gpus else []),
                duration(time.monotonic() - job.begun),
                *([bar] if has_bar else []),
                "starting" if reached is None else str(reached),
            )
        counts = lines.counts()
        if len(lines.running) == 1:
            log = f"  log: {os.path.relpath(jobs[0][0])}/run.log"
            counts += log if len(counts) + len(log) < lines.console.width else ""
        texts = [f"and {len(jobs) - _MOST_JOBS} more"] if len(jobs) > _MOST_JOBS else []
        texts.append(counts)  # as the table's caption, it would be wrapped to its width
        return Group(*([table] if jobs else []), *map(as_cell, texts))


def read_reached(folder: Path, config: Mapping[str, Any]) -> Reached | None:
    """Return how far the newest checkpoint is, or None for a job that does not train yet."""
    checkpoints = folder / "checkpoints"
    of = sum(phase["epochs"] or 0 for phase in config["phases"].values())
    of = of or config["trainer"].get("max_epochs")
    of = of if isinstance(of, int) and of > 0 else None
    try:
        newest = json.loads(read_file(checkpoints / "manifest.json"))["checkpoints"][-1]
        # Epochs count from 0; a checkpoint from the middle of one has no metrics.
        return Reached(newest["epoch"] + bool(newest["metrics"]), of)
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return Reached(0, of) if checkpoints.is_dir() else None
