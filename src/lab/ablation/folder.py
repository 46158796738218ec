"""What a plan keeps on disk: ``plan.json``, and a run folder for each of its jobs."""

import contextlib
import json
import os
import platform
import shlex
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from lab.ablation.compose import Job
from lab.ablation.plan import Plan
from lab.atomic import is_there, read_file, remove_leftovers, write_json
from lab.claim import is_claimed, refuse_links
from lab.errors import RunFolderError
from lab.printable import printable
from lab.record import FILE_NAME, RunRecord, Status, git_state
from lab.secrets import redacted

PLAN_FILE = "plan.json"
State = Status | Literal["unreadable"]  # which the other jobs need not wait for
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class JobFolder:
    """A job and where it lives."""

    job: Job
    path: Path

    def status(self) -> State:
        """What the record says; a run that nobody holds any more was killed: ``interrupted``."""
        if not is_there(self.path / FILE_NAME):
            return "planned"
        try:
            status = self.record().status
        except RunFolderError:
            return "unreadable"
        if status == "running" and not is_claimed(self.path):
            return "interrupted"
        return status

    def record(self) -> RunRecord:
        return RunRecord.read(self.path)

    def prepare(self, plan_name: str) -> None:
        """The frozen config of a job that has not begun; what has is left as it is."""
        self.path.mkdir(parents=True, exist_ok=True)
        remove_leftovers(self.path)
        if is_there(self.path / FILE_NAME):
            return
        job = self.job
        about = {"name": plan_name, "variant": job.variant, "settings": job.settings}
        RunRecord.planned(job.config.model_dump(mode="json"), job.overrides, about).write(self.path)

    def refresh(self) -> None:
        """Freeze the config anew, ahead of running or continuing the job.

        The folder is named for what the job computes, so only paths, trackers, names and such can
        differ: what is said of them now counts, or a job that failed by a wrong path would fail
        for ever.

        Raises:
            RunFolderError: a link leads out of the folder.
        """
        refuse_links(self.path)
        record, job = self.record(), self.job
        anew = replace(
            record,
            config=job.config.model_dump(mode="json"),
            overrides=[word.removeprefix("++") for word in job.overrides],
            plan={**record.plan, "variant": job.variant, "settings": job.settings},
        )
        if anew != record:
            anew.write(self.path)


class PlanFolder:
    """``plan.json`` says what belongs to the plan; other run folders are of earlier versions.

    ``found_again``: the same command comes to the same folder.
    """

    def __init__(self, path: Path, name: str, *, found_again: bool) -> None:
        self.path = path
        self.name = name
        self.found_again = found_again

    def job_folders(self, jobs: list[Job]) -> list[JobFolder]:
        """Found by what they compute, so that a variant with a new name keeps its runs."""
        there = {
            path.parent.name.rpartition("_")[2]: path.parent
            for path in self.path.glob(f"*/{FILE_NAME}")
        }
        return [
            JobFolder(job, there.get(job.config_hash[:8], self.path / job.folder_name))
            for job in jobs
        ]

    def make(self) -> None:
        """Raises RunFolderError."""
        with _clear_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)

    def write(self, plan: Plan, folders: list[JobFolder]) -> None:
        """Raises RunFolderError if the folder cannot be written."""
        with _clear_errors(self.path):
            remove_leftovers(self.path)
            write_json(self.path / PLAN_FILE, self._content(plan, folders))
            for folder in folders:
                folder.prepare(self.name)

    def _content(self, plan: Plan, folders: list[JobFolder]) -> dict[str, Any]:
        return {
            "schema": SCHEMA_VERSION,
            "name": self.name,
            "claim": plan.claim,
            "command": _command(),
            "baseline": plan.baseline_settings,
            "average": plan.average,
            "axes": plan.axes,
            "metrics": plan.metrics,
            "git": dict(git_state()),
            "started": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "report_id": self._report_id(),
            "process": {"host": platform.node(), "pid": os.getpid()},
            "jobs": [
                {
                    "folder": folder.path.name,
                    "variant": folder.job.variant,
                    "same_as": folder.job.same_as,
                    "settings": folder.job.settings,
                    "seed": folder.job.seed,
                    "config_hash": folder.job.config_hash,
                }
                for folder in folders
            ],
        }

    def _report_id(self) -> str:
        """Of the plan's table at W&B; kept from one start to the next."""
        try:
            return json.loads(read_file(self.path / PLAN_FILE))["report_id"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return uuid.uuid4().hex[:8]


def _command() -> str:
    said = shlex.join(["python", *(argument.removeprefix("++") for argument in sys.argv)])
    return printable(redacted(said))


@contextlib.contextmanager
def _clear_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunFolderError(
            f"{error.filename or folder}: cannot be written ({error.strerror}); make room or "
            f"choose another folder with paths.runs=…"
        ) from error
