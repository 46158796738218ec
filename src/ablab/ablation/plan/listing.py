"""Print a plan: its jobs before they run, a line when one ends, and the failures."""

import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from ablab.ablation.plan.estimate import Estimate
from ablab.ablation.plan.folder import JobFolder, State
from ablab.config.metric_names import without_stage
from ablab.config.written import label_of
from ablab.errors import RunFolderError
from ablab.report.write import console
from ablab.runs.record import RunRecord
from ablab.safety.printable import as_cell, printable

_MOST_FAILURES = 20
_ACTIONS: dict[State, str] = {
    "planned": "run",
    "running": "is running",
    "interrupted": "continue",
    "failed": "failed; skip",
    "done": "done; skip",
    "unreadable": "damaged record; skip",
}


def show_jobs(
    jobs: Sequence[JobFolder], statuses: Sequence[State], runs: Path, *, retry_failed: bool
) -> None:
    """Print the table of a dry run: each job, what a run would do with it, and the time."""
    actions = _ACTIONS | ({"failed": "failed; try again"} if retry_failed else {})
    estimate = Estimate(runs)
    left = [action_due(status, retry_failed=retry_failed) for status in statuses]
    seconds = [
        estimate.seconds(job.job) if due else 0.0 for job, due in zip(jobs, left, strict=True)
    ]
    keys = list(dict.fromkeys(key for job in jobs for key in job.job.settings))
    variants = any(job.job.variant for job in jobs)
    table = Table()
    for name in ("job", *(["variant"] if variants else []), *keys, "seed", "folder", "", "about"):
        table.add_column(
            as_cell(name), justify="right" if name in ("job", "seed", "about") else "left"
        )
    for number, (folder, status, taken) in enumerate(zip(jobs, statuses, seconds, strict=True), 1):
        job = folder.job
        variant = " = ".join(filter(None, [job.variant, *job.same_as]))
        about = "?" if taken is None else ("" if taken == 0 else duration(taken))
        settings = [
            label_of(None, {"": job.settings[k]})[1:] if k in job.settings else "" for k in keys
        ]
        cells = [str(number), *([variant] if variants else []), *settings, str(job.seed)]
        table.add_row(*map(as_cell, [*cells, folder.path.name, actions[status], about]))
    out = console()
    out.print(table)
    known = [taken for taken in seconds if taken]
    unknown = sum(taken is None for taken in seconds)
    told = f"{sum(left)} of {len(jobs)} jobs to run"
    if known:
        told += f", about {duration(sum(known))} one after the other (from finished runs)"
    if unknown:
        told += f"; nothing like {unknown} of them has run yet, so their time is not known"
    out.print(told)


def action_due(status: State, *, retry_failed: bool) -> bool:
    """Return whether a plan runs or continues a job in this state."""
    return status in ("planned", "interrupted") or (status == "failed" and retry_failed)


class JobLines:
    """Print a line for each job that ends, with an estimate of the time left."""

    def __init__(self, total: int, at_a_time: int = 1) -> None:
        self.total = total
        self.at_a_time = at_a_time
        self.ended = 0
        self.failed = 0
        self.begun: dict[Path, float] = {}  # start of each running job, on the monotonic clock
        self.console = console()
        self._seconds: list[float] = []

    def begin(self, folder: Path) -> None:
        self.begun[folder] = time.monotonic()

    def end(self, folder: Path, error: BaseException | None = None) -> None:
        """Print how a job ended; ``error`` is why its record could not be written, or None."""
        record = RunRecord.read(folder)
        self.ended += 1
        self.failed += record.status != "done"
        self._seconds.append(time.monotonic() - self.begun.pop(folder))
        left = self.seconds_left()
        told = f"  (about {duration(left)} left)" if left and left >= 1 else ""
        self.say(f"{self.count(self.ended)}{describe(record)}  {outcome(record, error)}{told}")

    def count(self, number: int) -> str:
        return f"[{number:>{len(str(self.total))}}/{self.total}] " if self.total > 1 else ""

    def say(self, line: str) -> None:
        self.console.print(Text(printable(line)), soft_wrap=True)

    def seconds_left(self) -> float | None:
        """Estimate from the mean time of ended jobs; None before the first has ended."""
        if not self._seconds:
            return None
        mean = sum(self._seconds) / len(self._seconds)
        now = time.monotonic()
        running = sum(max(mean - (now - begun), 0.0) for begun in self.begun.values())
        waiting = self.total - self.ended - len(self.begun)
        places = max(1, min(self.at_a_time, self.total - self.ended))
        return (running + mean * waiting) / places


def describe(record: RunRecord) -> str:
    label = label_of(record.plan.get("variant"), record.plan.get("settings", {}))
    return " ".join(filter(None, [label, f"seed={record.seeds['seed']}"]))


def outcome(record: RunRecord, error: BaseException | None = None) -> str:
    """Describe how a job ended: the objective if it is done, the error if it failed."""
    if record.status == "done":
        name = record.monitor
        values = {name: record.metrics.get("chosen", {}).get(name)}
        short = without_stage(name)
        values[f"test/{short}"] = record.metrics.get("test", {}).get(short)
        measured = "  ".join(f"{k} {v:.4f}" for k, v in values.items() if v is not None)
        return f"{measured}  {duration(record.seconds.get('total', 0.0))}"
    if record.status == "failed" and record.error:
        return f"failed: {error_line(record.error['type'], record.error['message'])}"
    if error is not None:
        return f"failed: {error_line(type(error).__name__, str(error))}"
    return "was stopped"


def error_line(kind: str, message: str) -> str:
    first = message.strip().splitlines()[0] if message.strip() else ""
    return f"{kind}: {first}" if first else kind


def show_failures(
    jobs: Sequence[JobFolder],
    statuses: Sequence[State],
    ends: Mapping[Path, str],
    base: Path,
) -> None:
    """Print why jobs that have begun are not done, and where their logs are.

    ``ends``: how jobs ended that could not write it into their records, such as a killed one.
    """
    out = console()
    begun = [
        (job, status)
        for job, status in zip(jobs, statuses, strict=True)
        if status not in ("done", "planned") or job.path in ends
    ]
    for job, status in begun[:_MOST_FAILURES]:
        try:
            record = job.record()
        except RunFolderError as error:
            remedy = f"remove {os.path.relpath(job.path)} to run that job anew"
            if isinstance(error.__cause__, PermissionError):
                remedy = "make it readable for this user"
            out.print(Text(printable(f"  {error}; {remedy}")), soft_wrap=True)
            continue
        log = job.path / "run.log"
        shown = log.relative_to(base) if log.is_relative_to(base) else log
        reason = outcome(record) if status == "failed" else status
        if job.path in ends:
            reason += f", {ends[job.path]}"
        line = f"  {describe(record)}: {reason}\n    log: {shown}"
        out.print(Text(printable(line)), soft_wrap=True)
    if len(begun) > _MOST_FAILURES:
        out.print(f"  and {len(begun) - _MOST_FAILURES} more; report.html has them all")


def counted(statuses: Sequence[State]) -> str:
    """Return the number of jobs in each state: ``18 done, 2 failed``."""
    return ", ".join(f"{n} {status}" for status, n in Counter(statuses).most_common())


def duration(seconds: float) -> str:
    """Return a time for people: ``12.3 s``, ``5 min``, ``1.5 h``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
