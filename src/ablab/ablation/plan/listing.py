"""Print a plan: its jobs before they run, how each ended, and the failures."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from ablab.ablation.plan.estimate import Estimate
from ablab.ablation.plan.folder import JobFolder, State
from ablab.config.metric_names import without_stage
from ablab.config.written import label_of, shown
from ablab.errors import RunFolderError
from ablab.report.forms.notes import shared_alone
from ablab.report.write import console
from ablab.runs.record import RunRecord
from ablab.safety.printable import as_cell, printable
from ablab.terminal import about, duration

_MOST_REASONS = 10
_LONGEST_ERROR = 500  # characters; run.log has the rest
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
        time_left = "?" if taken is None else about(taken).removeprefix("about ") if taken else ""
        settings = [
            label_of(None, {"": job.settings[k]})[1:] if k in job.settings else "" for k in keys
        ]
        cells = [str(number), *([variant] if variants else []), *settings, str(job.seed)]
        cells += [folder.path.name, actions[status], time_left]
        table.add_row(*map(as_cell, cells))
    out = console()
    out.print(table)
    known = [taken for taken in seconds if taken]
    unknown = sum(taken is None for taken in seconds)
    told = f"{sum(left)} of {len(jobs)} jobs to run"
    if known:
        told += f", {about(sum(known))} one after the other (from finished runs)"
    if unknown:
        told += f"; nothing like {unknown} of them has run yet, so their time is not known"
    out.print(told)


def action_due(status: State, *, retry_failed: bool) -> bool:
    """Return whether a plan runs or continues a job in this state."""
    return status in ("planned", "interrupted") or (status == "failed" and retry_failed)


def describe(record: RunRecord) -> str:
    label = label_of(record.plan.get("variant"), record.plan.get("settings", {}))
    return " ".join(filter(None, [label, f"seed={record.seeds['seed']}"]))


def outcome(record: RunRecord, error: BaseException | None = None) -> str:
    """Describe how a job ended: objective and seconds if it is done, the error if it failed."""
    if record.status == "done":
        name = record.monitor
        values = {name: record.metrics.get("chosen", {}).get(name)}
        short = without_stage(name)
        values[f"test/{short}"] = record.metrics.get("test", {}).get(short)
        measured = "  ".join(f"{k} {v:.4f}" for k, v in values.items() if v is not None)
        seconds = record.seconds.get("total", 0.0) - record.seconds.get("start", 0.0)
        return f"{measured}  {duration(seconds)}"
    if record.status == "failed" and record.error:
        return f"failed: {error_line(record.error['type'], record.error['message'])}"
    if error is not None:
        return f"failed: {error_line(type(error).__name__, str(error))}"
    return "was stopped"


def error_line(kind: str, message: str) -> str:
    first = message.strip().splitlines()[0] if message.strip() else ""
    first = first if len(first) <= _LONGEST_ERROR else f"{first[:_LONGEST_ERROR]} …"
    return f"{kind}: {first}" if first else kind


def show_failures(
    jobs: Sequence[JobFolder],
    statuses: Sequence[State],
    ends: Mapping[Path, str],
    base: Path,
) -> None:
    """Print why jobs that have begun are not done, each reason once, and where their logs are.

    ``ends``: how jobs ended that could not write it into their records, such as a killed one.
    """
    out = console()
    groups: dict[str, list[tuple[JobFolder, str]]] = defaultdict(list)
    for job, status in zip(jobs, statuses, strict=True):
        if status in ("done", "planned") and job.path not in ends:
            continue
        try:
            record = job.record()
        except RunFolderError as error:
            remedy = f"remove {os.path.relpath(job.path)} to run that job again"
            if isinstance(error.__cause__, PermissionError):
                remedy = "make it readable for this user"
            out.print(Text(printable(f"  {error}; {remedy}")), soft_wrap=True)
            continue
        reason = outcome(record) if status == "failed" else status
        reason += f", {ends[job.path]}" if job.path in ends else ""
        groups[re.sub(r"\d+", "0", reason)].append((job, reason))
    for group in list(groups.values())[:_MOST_REASONS]:
        (first, reason), *others = group
        log = first.path / "run.log"
        path = log.relative_to(base) if log.is_relative_to(base) else log
        line = f"{describe(first.record())}: {reason}"
        if others:
            line = f"{len(group)} {reason}{_in_common([job for job, _ in group], jobs)}"
        out.print(Text(printable(f"  {line}")), soft_wrap=not out.is_terminal)
        out.print(Text(printable(f"    {'first ' if others else ''}log: {path}")), soft_wrap=True)
    if len(groups) > _MOST_REASONS:
        out.print(f"  and {len(groups) - _MOST_REASONS} more reasons; report.html has them all")


def _in_common(group: Sequence[JobFolder], jobs: Sequence[JobFolder]) -> str:
    """Return, in brackets, the variant and settings that only the jobs of ``group`` have."""
    paths = {job.path for job in group}
    outside = [_named(job) for job in jobs if job.path not in paths]
    common = shared_alone([_named(job) for job in group], outside)
    return f" ({', '.join(common.values())})" if common else ""


def _named(job: JobFolder) -> dict[str, str]:
    settings = {key: f"{key}={shown(value)}" for key, value in job.job.settings.items()}
    return {"variant": job.job.variant or "", **settings}


def counted(statuses: Sequence[State]) -> str:
    """Return the number of jobs in each state: ``18 done, 2 failed``."""
    return ", ".join(f"{n} {status}" for status, n in Counter(statuses).most_common())
