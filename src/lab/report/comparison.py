"""What is compared with what: the jobs of a plan, or runs by the settings in which they differ."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.atomic import is_there
from lab.claim import is_claimed
from lab.config.suggestions import suggestion
from lab.errors import RunFolderError, UserError
from lab.record import FILE_NAME, RunRecord
from lab.report.collect import SEED_KEYS, Run, collect, varying_keys
from lab.report.plan_file import PLAN_FILE, PlanFile

Variant = tuple[tuple[str, str], ...]
STATUSES = (
    "done", "failed", "interrupted", "killed", "unreadable", "running", "planned", "missing"
)  # fmt: skip


@dataclass(frozen=True)
class Job:
    """A run as a report sees it; ``record`` is None where there is none that can be read.

    ``status`` is the record's, or ``killed`` (``running``, but no process holds the folder),
    ``missing``, ``unreadable``. ``variant`` says which row it belongs to, ``aliases`` by which
    other variants' names it goes, ``part`` holds the values of the settings that are averaged.
    """

    folder: Path
    status: str
    record: RunRecord | None
    variant: Variant
    aliases: tuple[str, ...]
    seed: str
    part: str


@dataclass(frozen=True)
class Comparison:
    """Jobs, the settings by which their rows differ (``variant`` first), and what is compared."""

    title: str
    keys: tuple[str, ...]
    average: tuple[str, ...]
    jobs: tuple[Job, ...]
    metrics: tuple[str, ...]
    baseline: dict[str, str]
    plan: PlanFile | None


def compare(
    folders: Sequence[Path],
    *,
    average: Sequence[str] = (),
    metrics: Sequence[str] = (),
    baseline: Mapping[str, str] | None = None,
) -> Comparison:
    """A plan's jobs if ``folders`` is one plan folder, else every run under them.

    Args:
        average, metrics, baseline: where given, in place of what the plan says.

    Raises:
        RunFolderError: a folder does not exist, holds no run, or holds a damaged record or plan.
        UserError: no run has a setting of ``average`` or a metric of ``metrics``.
    """
    is_plan = len(folders) == 1 and is_there(folders[0] / PLAN_FILE)
    found = (
        _of_plan(folders[0], average, metrics, baseline)
        if is_plan
        else _of_runs(folders, average, metrics, baseline)
    )
    known = {key for job in found.jobs if job.record for key in measured(job.record)}
    for metric in metrics:
        if metric not in known:
            raise UserError(f"no run has measured '{metric}'{suggestion(metric, sorted(known))}")
    return found


def _of_plan(
    folder: Path,
    average: Sequence[str],
    metrics: Sequence[str],
    baseline: Mapping[str, str] | None,
) -> Comparison:
    plan = PlanFile.read(folder)
    averaged = tuple(average) or plan.average
    for axis in average:
        if axis not in plan.axes:
            told = suggestion(axis, list(plan.axes))
            raise UserError(f"'{axis}' is no axis of the plan, to average over{told}")
    axes = [axis for axis in plan.axes if axis not in averaged]
    named = ["variant"] if any(job.variant is not None for job in plan.jobs) else []
    jobs = []
    for planned in plan.jobs:
        status, record = _state(folder / planned.folder)
        values = {"variant": planned.variant, **planned.settings}
        jobs.append(
            Job(
                folder=folder / planned.folder,
                status=status,
                record=record,
                variant=_variant((*named, *axes), values),
                aliases=planned.same_as,
                seed=str(planned.seed),
                part=repr([planned.settings.get(key) for key in averaged]),
            )
        )
    given = plan.baseline if baseline is None else baseline
    return Comparison(
        title=plan.name,
        keys=(*named, *axes),
        average=averaged,
        jobs=tuple(jobs),
        metrics=tuple(metrics or plan.metrics or metric_names(_records(jobs))),
        baseline={key: shown_value(value) for key, value in given.items()},
        plan=plan,
    )


def _of_runs(
    folders: Sequence[Path],
    average: Sequence[str],
    metrics: Sequence[str],
    baseline: Mapping[str, str] | None,
) -> Comparison:
    runs = collect(list(folders))
    for key in average:
        if all(key not in run.settings for run in runs):
            raise UserError(f"no run has a setting '{key}', to average over")
    keys = _keys(runs, average)
    jobs = tuple(
        Job(
            folder=run.folder,
            status=_status(run.folder, run.record),
            record=run.record,
            variant=_variant(keys, run.settings),
            aliases=(),
            seed=repr([run.settings.get(key) for key in SEED_KEYS]),
            part=repr([run.settings.get(key) for key in average]),
        )
        for run in runs
    )
    return Comparison(
        title=", ".join(map(str, folders)),
        keys=keys,
        average=tuple(average),
        jobs=jobs,
        metrics=tuple(metrics or metric_names(_records(jobs))),
        baseline=dict(baseline or {}),
        plan=None,
    )


def _keys(runs: list[Run], average: Sequence[str]) -> tuple[str, ...]:
    by_name: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_name[run.record.name].append(run)
    varying = dict.fromkeys(
        key
        for named in by_name.values()
        for key in varying_keys(named)
        if all(key in run.settings for run in named)  # what only some have, their model or data say
    )
    names = ["name"] if len(by_name) > 1 else []  # which says what all of its runs have in common
    return (*names, *(key for key in varying if key not in average))


def measured(record: RunRecord) -> set[str]:
    """Names of all metrics that a run has, of its test and of its chosen checkpoint."""
    test = {f"test/{name}" for name in record.metrics.get("test", {})}
    return {*test, *record.metrics.get("chosen", {})}


def metric_names(records: Iterable[RunRecord]) -> list[str]:
    """``test/…`` of every run, then the objective on the validation part where there is one."""
    names: dict[str, None] = {}
    objectives: dict[str, None] = {}
    for record in records:
        names |= {f"test/{name}": None for name in record.metrics.get("test", {})}
        objective = f"val/{record.objective['metric']}"
        if objective in record.metrics.get("chosen", {}):
            objectives[objective] = None
    names.pop("test/loss", None)
    return [*names, *objectives]


def shown_value(value: Any) -> str:
    """A setting as it is written in YAML."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _variant(keys: Iterable[str], values: Mapping[str, Any]) -> Variant:
    return tuple((key, shown_value(values[key]) if key in values else "") for key in keys)


def _records(jobs: Iterable[Job]) -> list[RunRecord]:
    return [job.record for job in jobs if job.record is not None]


def _state(folder: Path) -> tuple[str, RunRecord | None]:
    try:
        record = RunRecord.read(folder)
    except RunFolderError:
        return "unreadable" if is_there(folder / FILE_NAME) else "missing", None
    return _status(folder, record), record


def _status(folder: Path, record: RunRecord) -> str:
    if record.status == "running" and not is_claimed(folder):
        return "killed"
    return record.status
