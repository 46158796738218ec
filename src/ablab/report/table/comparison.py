"""Decide what a report compares: the jobs of a plan, or runs by the settings that differ."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablab.config.suggestions import suggestion
from ablab.errors import RunFolderError, UserError
from ablab.report.table.collect import SEED_KEYS, RecordedRun, collect, varying_keys
from ablab.report.table.plan_file import PLAN_FILE, PlanFile
from ablab.runs.record import FILE_NAME, RunRecord
from ablab.safety.atomic_files import is_there
from ablab.safety.folder_lock import is_locked

Variant = tuple[tuple[str, str], ...]
NAMES = ("plan", "variant", "name")  # keys whose values are names, not settings
_OF_PLAN = {"plan": "name", "variant": "variant"}
STATUSES = (
    "done", "failed", "interrupted", "killed", "unreadable", "running", "planned", "missing"
)  # fmt: skip


@dataclass(frozen=True)
class ReportJob:
    """A run as a report sees it; ``record`` is None if it is missing or unreadable.

    ``status`` is that of the record, or ``killed`` (the record says ``running``, but no process
    holds the folder), ``missing`` or ``unreadable``. Jobs with the same ``variant`` share a row;
    ``aliases`` are the names of other variants with the same config. ``part`` holds the values of
    the settings that are averaged.
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
    """The jobs of a report, the settings that tell its rows apart, and the metrics to compare."""

    title: str
    keys: tuple[str, ...]
    average: tuple[str, ...]
    jobs: tuple[ReportJob, ...]
    metrics: tuple[str, ...]
    baseline: dict[str, str]
    plan: PlanFile | None

    @property
    def measured(self) -> tuple[str, ...]:
        """The metrics to compare, and those that the plan's claim is about."""
        claimed = (part.metric for part in self.plan.expect) if self.plan else ()
        return tuple(dict.fromkeys((*self.metrics, *claimed)))


def compare(
    folders: Sequence[Path],
    *,
    average: Sequence[str] = (),
    metrics: Sequence[str] = (),
    baseline: Mapping[str, str] | None = None,
) -> Comparison:
    """Compare the jobs of a plan if ``folders`` is one plan folder, else every run under them.

    Args:
        folders: a plan folder, or folders with runs.
        average, metrics, baseline: if given, they replace those of the plan.

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
            raise UserError(f"cannot average over '{axis}', which is no axis of the plan{told}")
    axes = [axis for axis in plan.axes if axis not in averaged]
    named = ["variant"] if any(job.variant is not None for job in plan.jobs) else []
    jobs = []
    for planned in plan.jobs:
        status, record = _state(folder / planned.folder)
        values = {"variant": planned.variant, **planned.settings}
        jobs.append(
            ReportJob(
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
        baseline=as_shown(given),
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
            raise UserError(f"cannot average over '{key}', which is a setting of no run")
    names = _names(runs)
    keys = _keys(runs, names, average)
    jobs = tuple(
        ReportJob(
            folder=run.folder,
            status=_status(run.folder, run.record),
            record=run.record,
            variant=_variant(keys, {**run.settings, **own}),
            aliases=(),
            seed=repr([run.settings.get(key) for key in SEED_KEYS]),
            part=repr([run.settings.get(key) for key in average]),
        )
        for run, own in zip(runs, names, strict=True)
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


def _names(runs: list[RecordedRun]) -> list[dict[str, str]]:
    """Return what each run is called: plan and variant if all have both, else its name."""
    plans = [run.record.plan for run in runs]
    if all(plan.get("name") and plan.get("variant") for plan in plans):
        return [{key: plan[name] for key, name in _OF_PLAN.items()} for plan in plans]
    return [{"name": run.record.name} for run in runs]


def _keys(
    runs: list[RecordedRun], names: list[dict[str, str]], average: Sequence[str]
) -> tuple[str, ...]:
    by_name: dict[tuple[str, ...], list[RecordedRun]] = defaultdict(list)
    for run, own in zip(runs, names, strict=True):
        by_name[tuple(own.values())].append(run)
    varying = dict.fromkeys(
        key
        for named in by_name.values()
        for key in varying_keys(named)
        # A key that only some runs have follows from their choice of model or data.
        if all(key in run.settings for run in named)
    )
    # A name stands for what its runs share.
    named = [key for key in names[0] if len({own[key] for own in names}) > 1]
    return (*named, *(key for key in varying if key not in average))


def measured(record: RunRecord) -> set[str]:
    """Return the names of all metrics of a run: of the test and of the chosen checkpoint."""
    test = {f"test/{name}" for name in record.metrics.get("test", {})}
    return {*test, *record.metrics.get("chosen", {})}


def metric_names(records: Iterable[RunRecord]) -> list[str]:
    """Return the test metrics, then the objective on the validation part if any.

    Left out are the loss, unless runs are compared by it, and the numbers of metrics that have
    several, such as one for each class.
    """
    names: dict[str, None] = {}
    objectives: dict[str, None] = {}
    for record in records:
        names |= {f"test/{n}": None for n in record.metrics.get("test", {}) if "/" not in n}
        objective = record.monitor
        if objective in record.metrics.get("chosen", {}):
            objectives[objective] = None
    if "val/loss" not in objectives:
        names.pop("test/loss", None)
    return [*names, *objectives]


def shown_value(value: Any) -> str:
    """Return a setting as YAML writes it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def as_shown(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return settings with their values as YAML writes them, as rows have them."""
    return {key: shown_value(value) for key, value in settings.items()}


def _variant(keys: Iterable[str], values: Mapping[str, Any]) -> Variant:
    return tuple((key, shown_value(values[key]) if key in values else "") for key in keys)


def _records(jobs: Iterable[ReportJob]) -> list[RunRecord]:
    return [job.record for job in jobs if job.record is not None]


def _state(folder: Path) -> tuple[str, RunRecord | None]:
    try:
        record = RunRecord.read(folder)
    except RunFolderError:
        return "unreadable" if is_there(folder / FILE_NAME) else "missing", None
    return _status(folder, record), record


def _status(folder: Path, record: RunRecord) -> str:
    if record.status == "running" and not is_locked(folder):
        return "killed"
    return record.status
