"""The folder of a plan: ``plan.json`` and a run folder for each job."""

import contextlib
import os
import platform
import shlex
import sys
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from ablab.ablation.plan.compose import Job
from ablab.ablation.plan.plan import Plan
from ablab.errors import RunFolderError
from ablab.project import git_state
from ablab.report.table.plan_file import PlanFile, PlannedJob
from ablab.runs.record import FILE_NAME, RunRecord, Status, clear_write_errors
from ablab.safety.atomic_files import is_there, remove_leftovers
from ablab.safety.folder_lock import is_locked, refuse_links
from ablab.safety.printable import printable
from ablab.safety.redaction import redacted

State = Status | Literal["unreadable"]


@dataclass(frozen=True)
class JobFolder:
    """A job and its run folder."""

    job: Job
    path: Path

    def status(self) -> State:
        """Return the record's status; ``running`` without a process is ``interrupted``."""
        if not is_there(self.path / FILE_NAME):
            return "planned"
        try:
            status = self.record().status
        except RunFolderError:
            return "unreadable"
        if status == "running" and not is_locked(self.path):
            return "interrupted"
        return status

    def record(self) -> RunRecord:
        return RunRecord.read(self.path)

    def prepare(self, plan_name: str) -> None:
        """Write the record of a job that has not begun; leave one that has as it is."""
        self.path.mkdir(parents=True, exist_ok=True)
        if is_there(self.path / FILE_NAME):  # The job may run, and be about to write a file.
            return
        remove_leftovers(self.path)
        job = self.job
        about = {"name": plan_name, "variant": job.variant, "settings": job.settings}
        RunRecord.planned(job.config.model_dump(mode="json"), job.overrides, about).write(self.path)

    def refresh(self) -> None:
        """Write the current config into the record, before the job is run or continued.

        The folder is named by what the job computes, so only paths, trackers and names can differ.
        The current ones count, or a job that failed because of a wrong path would always fail.

        Raises:
            RunFolderError: a link leads out of the folder.
        """
        refuse_links(self.path)
        record, job = self.record(), self.job
        current = replace(
            record,
            config=job.config.model_dump(mode="json"),
            overrides=[word.removeprefix("++") for word in job.overrides],
            plan={**record.plan, "variant": job.variant, "settings": job.settings},
        )
        if current != record:
            current.write(self.path)


class PlanFolder:
    """The folder of a plan; run folders that ``plan.json`` does not list are of earlier versions.

    ``found_again``: whether the same command uses the same folder again.
    """

    def __init__(self, path: Path, name: str, *, found_again: bool) -> None:
        self.path = path
        self.name = name
        self.found_again = found_again

    def job_folders(self, jobs: list[Job]) -> list[JobFolder]:
        """Find folders by what jobs compute, so that a renamed variant keeps its runs."""
        there: dict[str, list[Path]] = {}
        for path in self.path.glob(f"*/{FILE_NAME}"):
            there.setdefault(path.parent.name.rpartition("_")[2], []).append(path.parent)
        return [JobFolder(job, self._place_of(job, there)) for job in jobs]

    def _place_of(self, job: Job, there: dict[str, list[Path]]) -> Path:
        own, others = self.path / job.folder_name, there.get(job.config_hash[:8], [])
        if own in others:
            return own
        # A name holds 8 digits of a hash, which two of many jobs may have in common.
        return next((path for path in others if _may_be_of(job, path)), own)

    def make(self) -> None:
        """Create the folder; raise RunFolderError if that fails."""
        with clear_write_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)

    def write(self, plan: Plan, folders: list[JobFolder]) -> None:
        """Write ``plan.json`` and prepare all jobs; raise RunFolderError if that fails."""
        with clear_write_errors(self.path):
            remove_leftovers(self.path)
            self._plan_file(plan, folders).write(self.path)
            for folder in folders:
                folder.prepare(self.name)

    def _plan_file(self, plan: Plan, folders: list[JobFolder]) -> PlanFile:
        return PlanFile(
            name=self.name,
            claim=plan.claim.text,
            expect=plan.expectations,
            command=_command(),
            baseline=plan.baseline_settings,
            average=tuple(plan.average),
            axes=tuple(plan.axes),
            metrics=tuple(plan.metrics),
            git=dict(git_state()),
            started=datetime.now(UTC).isoformat(timespec="milliseconds"),
            report_id=self._report_id(),
            process={"host": platform.node(), "pid": os.getpid()},
            jobs=tuple(
                PlannedJob(
                    folder=folder.path.name,
                    variant=folder.job.variant,
                    same_as=tuple(folder.job.same_as),
                    settings=folder.job.settings,
                    seed=folder.job.seed,
                    config_hash=folder.job.config_hash,
                )
                for folder in folders
            ),
        )

    def _report_id(self) -> str:
        """Return the id that the plan has from an earlier start, else a new one."""
        with contextlib.suppress(RunFolderError):
            if found := PlanFile.read(self.path).report_id:
                return found
        return uuid.uuid4().hex[:8]


def _may_be_of(job: Job, folder: Path) -> bool:
    try:
        return RunRecord.read(folder).config_hash == job.config_hash
    except RunFolderError:  # it cannot be read, and is left alone
        return True


def _command() -> str:
    command = shlex.join(["python", *(argument.removeprefix("++") for argument in sys.argv)])
    return printable(redacted(command))
