"""What a plan keeps on disk: ``plan.json``, and a run folder for each of its jobs."""

import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from lab.ablation.compose import Job
from lab.ablation.plan import Plan
from lab.atomic import remove_leftovers, write_json
from lab.claim import is_claimed
from lab.errors import RunFolderError
from lab.record import FILE_NAME, RunRecord, git_state

PLAN_FILE = "plan.json"
SCHEMA_VERSION = 1
JobStatus = Literal["planned", "running", "done", "failed", "interrupted"]


@dataclass(frozen=True)
class JobFolder:
    """A job and where it lives."""

    job: Job
    path: Path

    def status(self) -> JobStatus:
        """What the record says; a run that nobody holds any more was killed: ``interrupted``."""
        if not (self.path / FILE_NAME).exists():
            return "planned"
        status = RunRecord.read(self.path).status
        if status == "running" and not is_claimed(self.path):
            return "interrupted"
        return status

    def record(self) -> RunRecord:
        return RunRecord.read(self.path)

    def prepare(self, plan_name: str) -> None:
        """The frozen config of a job that has not begun; what has is left as it is."""
        self.path.mkdir(parents=True, exist_ok=True)
        remove_leftovers(self.path)
        if (self.path / FILE_NAME).exists():
            return
        job = self.job
        about = {"name": plan_name, "variant": job.variant, "settings": job.settings}
        RunRecord.planned(job.config.model_dump(mode="json"), job.overrides, about).write(self.path)


class PlanFolder:
    """``plan.json`` says what belongs to the plan; other run folders are of earlier versions."""

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.name = name

    def job_folders(self, jobs: list[Job]) -> list[JobFolder]:
        return [JobFolder(job, self.path / job.folder_name) for job in jobs]

    def write(self, plan: Plan, jobs: list[Job]) -> None:
        """Raises RunFolderError if the folder cannot be written."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            remove_leftovers(self.path)
            write_json(self.path / PLAN_FILE, self._content(plan, jobs))
            for folder in self.job_folders(jobs):
                folder.prepare(self.name)
        except OSError as error:
            raise RunFolderError(
                f"{error.filename or self.path}: cannot be written ({error.strerror}); make room or "
                f"choose another folder with paths.runs=…"
            ) from error

    def _content(self, plan: Plan, jobs: list[Job]) -> dict[str, Any]:
        return {
            "schema": SCHEMA_VERSION,
            "name": self.name,
            "claim": plan.claim,
            "baseline": plan.baseline_settings,
            "average": plan.average,
            "axes": plan.axes,
            "metrics": plan.metrics,
            "git": git_state(),
            "started": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "process": {"host": platform.node(), "pid": os.getpid()},
            "jobs": [
                {
                    "folder": job.folder_name,
                    "variant": job.variant,
                    "same_as": job.same_as,
                    "settings": job.settings,
                    "seed": job.seed,
                    "config_hash": job.config_hash,
                }
                for job in jobs
            ],
        }
