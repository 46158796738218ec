"""Collect the run records of folders, and find the settings in which they differ."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablab.config.written import leaves
from ablab.errors import RunFolderError
from ablab.report.table.plan_file import PLAN_FILE, PlanFile
from ablab.runs.folders import run_folders
from ablab.runs.identity import identity
from ablab.runs.record import RunRecord
from ablab.safety.atomic_files import is_there

SEED_KEYS = ("seed", "seeds.init", "seeds.order")  # seeds.init and seeds.order follow seed


@dataclass(frozen=True)
class RecordedRun:
    """A run with its record; ``settings`` are those that identify it, by dotted keys."""

    folder: Path
    record: RunRecord
    settings: dict[str, Any]


def collect(folders: list[Path]) -> list[RecordedRun]:
    """Return every run under ``folders``, in the order of their paths.

    Run folders beside a ``plan.json`` that does not name them are left out: they belong to an
    earlier version of the plan.

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
    # Folders may overlap, but each run counts once.
    paths = list({path.resolve(): path for path in paths}.values())
    if not paths:
        raise RunFolderError(f"no run.json under {', '.join(map(str, folders))}")
    records = [(path, RunRecord.read(path)) for path in paths]
    return [
        RecordedRun(folder, record, dict(leaves(identity(record.config), in_lists=False)))
        for folder, record in records
    ]


def varying_keys(runs: list[RecordedRun]) -> list[str]:
    """Return the settings in which the runs differ, other than seeds and name."""
    keys = dict.fromkeys(key for run in runs for key in run.settings)
    return [
        key
        for key in keys
        if key not in (*SEED_KEYS, "name")
        and len({repr(run.settings.get(key)) for run in runs}) > 1
    ]


def _job_order(path: Path) -> list[tuple[int, str]]:
    """Return a sort key that puts job 2 before job 10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in path.parts]
