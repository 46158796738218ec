"""Count the jobs of a plan as they begin and end, and estimate how long the others take."""

import re
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.text import Text

from ablab.ablation.plan.listing import describe, outcome
from ablab.errors import RunFolderError
from ablab.report.write import console
from ablab.runs.record import RunRecord
from ablab.safety.printable import printable
from ablab.safety.streams import is_live_terminal
from ablab.terminal import about


@dataclass(frozen=True)
class Reached:
    """The epochs of a job that are done, and their number if that is known."""

    epochs: int
    of: int | None

    @property
    def share(self) -> float:
        return min(self.epochs / self.of, 1.0) if self.of else 0.0

    def __str__(self) -> str:
        of = "" if self.of is None else f" of {self.of}"
        one = (self.epochs if self.of is None else self.of) == 1
        return f"{self.epochs}{of} epoch{'' if one else 's'}"


@dataclass
class RunningJob:
    """A job that runs; ``seen`` holds when which share of its training was first seen done.

    ``stack`` names the jobs that are trained as one, and ``reached`` is how far they are.
    """

    label: str
    config: Mapping[str, Any]
    gpus: Sequence[str]
    begun: float
    stack: str = ""
    reached: Reached | None = None
    seen: list[tuple[float, float]] = field(default_factory=list)

    @property
    def share(self) -> float:
        return self.seen[-1][1] if self.seen else 0.0

    def note(self, share: float) -> None:
        if share > self.share:
            self.seen.append((time.monotonic(), share))

    def seconds(self) -> float | None:
        """Return how long the whole job takes; None before it has been seen twice."""
        if len(self.seen) < 2:
            return None
        (first, share), (last, later) = self.seen[0], self.seen[-1]
        pace = (last - first) / (later - share)
        return max(first - self.begun - share * pace, 0.0) + pace


class JobLines:
    """Print a line for each job that ends, with an estimate of the time left.

    On a live terminal, the table below the lines has that estimate.
    """

    def __init__(self, total: int, at_a_time: int = 1) -> None:
        self.total = total
        self.at_a_time = at_a_time
        self.done = 0
        self.failed = 0
        self.running: dict[Path, RunningJob] = {}
        self.is_live = is_live_terminal()
        self.console = console()
        self.console.file = sys.stdout  # also while a job has another one
        self.drawing: AbstractContextManager[Any] = nullcontext()  # held by a table that is drawn
        self._seconds: list[float] = []
        self._failed_first: dict[str, str] = {}  # of jobs that end alike: the label of the first

    def begin(self, folder: Path, gpus: Sequence[str] = (), stack: str = "") -> None:
        try:
            record = RunRecord.read(folder)
        except RunFolderError:  # The job will fail with it.
            label, config = folder.name, {"phases": {}, "trainer": {}}
        else:
            label, config = describe(record), record.config
        self.running[folder] = RunningJob(label, config, gpus, time.monotonic(), stack)

    def reach(self, folder: Path, reached: Reached) -> None:
        """Note how far a job of a stack is, whose checkpoints reach the disk later."""
        if (job := self.running.get(folder)) is not None:
            job.reached = reached
            job.note(reached.share)

    def leave(self, folder: Path) -> None:
        """Forget a job that has not ended; it may begin again."""
        self.running.pop(folder, None)

    def end(self, folder: Path, error: BaseException | None = None) -> None:
        """Print how a job ended; ``error`` is why its record could not be written, or None."""
        try:
            record = RunRecord.read(folder)
        except RunFolderError as lost:  # Somebody has removed or damaged it.
            done, how, label = False, f"failed: {lost}", folder.name
        else:
            done, how = record.status == "done", outcome(record, error)
            label = describe(record)
        self.done += done
        self.failed += not done
        if (job := self.running.pop(folder, None)) is not None:  # it was seen while it ran
            self._seconds.append(time.monotonic() - job.begun)
        left = None if self.is_live else self.seconds_left()
        told = f"  ({about(left)} left)" if left and left >= 1 else ""
        width = len(str(self.total))
        count = f"[{self.done + self.failed:>{width}}/{self.total}] " if self.total > 1 else ""
        first = self._failed_first.setdefault(re.sub(r"\d+", "0", how), label)
        if how.startswith("failed") and first != label:
            how = f"failed as {first} did"
        self.say(f"{count}{label}  {how}{told}")

    def say(self, line: str) -> None:
        """Print a line; on a terminal, it is folded between words."""
        with self.drawing:
            self.console.print(Text(printable(line)), soft_wrap=not self.console.is_terminal)

    @property
    def waiting(self) -> int:
        return self.total - self.done - self.failed - len(self.running)

    def counts(self) -> str:
        """Return ``1 running, 3 waiting, 2 done, 1 failed; about 50 s left``."""
        has_begun = self.running or self.done or self.failed
        begun = f"{len(self.running)} running" if has_begun else "starting"
        text = f"{begun}, {self.waiting} waiting, {self.done} done"
        text += f", {self.failed} failed" if self.failed else ""
        left = self.seconds_left()
        return text if left is None else f"{text}; {about(left)} left"

    def seconds_left(self) -> float | None:
        """Return an estimate from the jobs that ended, else from the epochs of those that run.

        The first job loads what later ones find loaded, so it counts only while it is the only one.
        """
        jobs = list(self.running.values())
        paces = [pace for job in jobs if (pace := job.seconds()) is not None]
        known = self._seconds[1:] or self._seconds or paces
        if not known:
            return None
        each, now = statistics.mean(known), time.monotonic()
        running = sum(
            each * (1 - job.share) if job.share else max(each - (now - job.begun), 0.0)
            for job in jobs
        )
        places = max(1, min(self.at_a_time, self.waiting + len(jobs)))
        return (running + each * self.waiting) / places
