"""The notes under a table: how to read it, which code ran, what it cost, what failed."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ablab.report.forms.cells import row_name
from ablab.report.table.comparison import NAMES, Comparison, ReportJob
from ablab.report.table.paired import CONFIDENCE
from ablab.report.table.tables import ReportTable

LOG_FILE = "run.log"
_INTERVALS = {"student": "Student's", "bootstrap": "a bootstrap's (BCa)"}
_MOST_VARIANTS = 12
_UNITS = (("hours", 1), ("minutes", 60), ("seconds", 3600))


@dataclass(frozen=True)
class Failure:
    """A job that ended without a result, and the first line of its error."""

    folder: Path
    status: str
    error: str

    @property
    def log(self) -> Path:
        return self.folder / LOG_FILE


def notes_of(table: ReportTable) -> list[str]:
    """Return the lines under a table, without failures."""
    comparison = table.comparison
    spread = "mean ± standard deviation (n seeds)"
    if comparison.average:
        spread += f"; a seed's value is the mean over {', '.join(comparison.average)}"
    notes = [spread]
    if any(table.best.values()):
        notes[0] += "; the best is marked, and ≈ what is not separable from it (Holm)"
    if any(index is not None for index in table.baselines):
        baseline = ", ".join(f"{key} {value}" for key, value in comparison.baseline.items())
        notes.append(
            f"Δ: difference to {baseline}, paired by seed, and {_INTERVALS[table.interval]} "
            f"{100 * CONFIDENCE:.0f} % interval"
        )
    notes += [
        f"{row_name(row)}: the same config as {', '.join(row.aliases)}, so it ran once"
        for row in table.rows
        if row.aliases and "variant" not in dict(row.variant)  # whose column names them
    ]
    notes += _of_the_best_epoch(comparison)
    notes += [*_changes(comparison), *_code(comparison.jobs), *_stacked(comparison.jobs)]
    return [*notes, *_cost(table)]


def _of_the_best_epoch(comparison: Comparison) -> list[str]:
    """Return a note that a validation metric is that of the checkpoint chosen by validation."""
    records = [job.record for job in comparison.jobs if job.record and job.status == "done"]
    by = dict.fromkeys(record.monitor for record in records)
    if not any(metric in by or metric.startswith("val/") for metric in comparison.metrics):
        return []
    epochs = sorted({record.epochs for record in records if record.epochs is not None})
    note = f"val/…: of each run's best epoch by {' or '.join(by)}"
    if len(epochs) > 1:
        note += f"; a run of {epochs[-1]} epochs has more to choose from than one of {epochs[0]}"
    return [note]


def changes_of_variants(comparison: Comparison) -> dict[str, list[str]]:
    """Return what each variant of a plan changes, as overrides of the command line."""
    overrides = [job.record.overrides for job in comparison.jobs if job.record is not None]
    if comparison.plan is None or not overrides:
        return {}
    common = set(overrides[0]).intersection(*overrides)
    own = {"seed", *comparison.plan.axes}
    changes: dict[str, list[str]] = {}
    for job in comparison.jobs:
        name = dict(job.variant).get("variant")
        if name is not None and job.record is not None:
            words = [w for w in job.record.overrides if w not in common]
            changes.setdefault(name, [w for w in words if w.partition("=")[0] not in own])
    return changes


def _changes(comparison: Comparison) -> list[str]:
    changes = changes_of_variants(comparison)
    if len(changes) > _MOST_VARIANTS:
        return []
    return [f"{name}: {' '.join(words)}" for name, words in changes.items() if words]


def failures_of(jobs: Sequence[ReportJob]) -> list[Failure]:
    """Return the jobs that failed, were killed or left an unreadable record."""
    found = []
    for job in jobs:
        if job.status == "failed" and job.record is not None and job.record.error is not None:
            error = job.record.error
            first = (error["message"].strip().splitlines() or [""])[0]
            found.append(Failure(job.folder, job.status, f"{error['type']}: {first}"[:200]))
        elif job.status in ("failed", "killed", "unreadable"):
            found.append(Failure(job.folder, job.status, ""))
    return found


@dataclass(frozen=True)
class FailureGroup:
    """Jobs that ended with the same error; ``log`` is that of the first."""

    text: str
    jobs: tuple[str, ...]
    log: Path


def failure_groups(jobs: Sequence[ReportJob]) -> list[FailureGroup]:
    """Return failures by error, numbers aside, with the settings that only these jobs have."""
    by_error: dict[tuple[str, str], list[Failure]] = defaultdict(list)
    for failure in failures_of(jobs):
        by_error[failure.status, re.sub(r"\d+", "0", failure.error)].append(failure)
    groups = []
    for (status, _), failures in by_error.items():
        own = {failure.folder for failure in failures}
        inside = [dict(job.variant) for job in jobs if job.folder in own]
        outside = [dict(job.variant) for job in jobs if job.folder not in own]
        common = [
            value if key in NAMES else f"{key} {value}"
            for key, value in shared_alone(inside, outside).items()
        ]
        text = f"{_count(len(failures), 'job')} {status}"
        text += f" ({', '.join(common)})" if common else ""
        text += f": {failures[0].error}" if failures[0].error else ""
        names = tuple(failure.folder.name for failure in failures)
        groups.append(FailureGroup(text, names, failures[0].log))
    return sorted(groups, key=lambda group: -len(group.jobs))


def shared_alone(
    inside: Sequence[Mapping[str, str]], outside: Sequence[Mapping[str, str]]
) -> dict[str, str]:
    """Return the values that all of ``inside`` have, and not all of ``outside``."""
    return {
        key: value
        for key, value in inside[0].items()
        if value
        and all(other.get(key) == value for other in inside)
        and any(other.get(key) != value for other in outside)
    }


def _code(jobs: Sequence[ReportJob]) -> list[str]:
    """Return the commits of the jobs if they differ or have uncommitted changes."""
    began = [job.record for job in jobs if job.record is not None and job.status != "planned"]
    counts: Counter[str] = Counter()
    for record in began:
        commit = str(record.git.get("commit") or "unknown")[:10]
        counts[commit + (", uncommitted changes" if record.git.get("dirty") else "")] += 1
    if len(counts) < 2 and not any(record.git.get("dirty") for record in began):
        return []
    commits = "; ".join(f"{commit} ({_count(n, 'job')})" for commit, n in counts.items())
    what = "not all jobs ran on the same code" if len(counts) > 1 else "the code was not committed"
    return [f"{what}: {commits}"]


def _stacked(jobs: Sequence[ReportJob]) -> list[str]:
    records = [job.record for job in jobs if job.record is not None]
    stacked = sum(bool(record.stacked) for record in records)
    if not stacked:
        return []
    told = "as a run alone up to rounding, not bit for bit"
    return [f"{stacked} of {_count(len(records), 'run')} trained in stacks: {told}"]


def _cost(table: ReportTable) -> list[str]:
    costs = [row.cost for row in table.rows]
    hours, of_devices = sum(c.hours for c in costs), sum(c.device_hours for c in costs)
    if not hours:
        return []
    unit, size = next((name, n) for name, n in _UNITS if hours * n >= 1 or name == "seconds")
    line = f"cost: {hours * size:.3g} {unit}"
    devices = list(dict.fromkeys(device for cost in costs for device in cost.devices))
    if of_devices != hours:
        line += f", {of_devices * size:.3g} device-{unit}"
    if devices:
        line += f" on {', '.join(devices)}"
    by_variant: dict[str, float] = defaultdict(float)
    for row in table.rows:
        by_variant[dict(row.variant).get("variant", "")] += row.cost.device_hours
    if 1 < len(by_variant) < min(len(table.rows), _MOST_VARIANTS + 1):
        each = ", ".join(f"{name} {spent * size:.3g}" for name, spent in by_variant.items())
        line += f" ({each})"
    return [line]


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
