"""Run records of a folder, and by which settings they differ."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.atomic import is_there
from lab.errors import RunFolderError
from lab.record import RunRecord, identity, run_folders
from lab.report.plan_file import PLAN_FILE, PlanFile

SEED_KEYS = ("seed", "seeds.init", "seeds.order", "data.order_seed")  # the last ones follow


@dataclass(frozen=True)
class Run:
    folder: Path
    record: RunRecord
    settings: dict[str, Any]  # what it computes, flat: "optim.lr" -> 0.005


def collect(folders: list[Path]) -> list[Run]:
    """Every run under ``folders``, in the order of their paths, but what a plan has left behind:
    run folders beside a ``plan.json`` that does not name them.

    Raises:
        RunFolderError: a folder does not exist, holds no run, or holds a damaged record or plan.
    """
    paths: list[Path] = []
    for folder in folders:
        if not folder.is_dir():
            raise RunFolderError(f"{folder}: no such folder")
        paths += sorted(run_folders(folder), key=_job_order)
    jobs = {
        plan: {job.folder for job in PlanFile.read(plan).jobs}
        for plan in {path.parent for path in paths}
        if is_there(plan / PLAN_FILE)
    }
    paths = [path for path in paths if path.name in jobs.get(path.parent, {path.name})]
    paths = list({path.resolve(): path for path in paths}.values())  # folders may overlap
    if not paths:
        raise RunFolderError(f"no run.json under {', '.join(map(str, folders))}")
    records = [(path, RunRecord.read(path)) for path in paths]
    return [Run(folder, record, dict(flat(identity(record.config)))) for folder, record in records]


def varying_keys(runs: list[Run]) -> list[str]:
    """Settings by which the runs differ, seeds left out."""
    keys = dict.fromkeys(key for run in runs for key in run.settings)
    return [
        key
        for key in keys
        if key not in (*SEED_KEYS, "name")
        and len({repr(run.settings.get(key)) for run in runs}) > 1
    ]


def flat(config: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and their values; an empty dict is a value."""
    for key, value in config.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _job_order(path: Path) -> list[tuple[int, str]]:
    """Job 2 before job 10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in path.parts]
