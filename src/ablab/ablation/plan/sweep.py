"""Run the jobs of a plan that are missing, whatever happens to the others, and report."""

import logging
import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus

from ablab.ablation.launch.launch import run_override
from ablab.ablation.plan.command_line import CommandLine
from ablab.ablation.plan.compose import Compose, compose_jobs
from ablab.ablation.plan.folder import JobFolder, PlanFolder, State
from ablab.ablation.plan.listing import action_due, counted, error_line, show_failures, show_jobs
from ablab.ablation.plan.plan import Plan, expand
from ablab.config.written import pasteable
from ablab.errors import PlanError, RunFolderError, UserError
from ablab.report.write import console, print_plan, write_reports
from ablab.safety.folder_lock import locked
from ablab.safety.signals import Interruption, RunInterrupted

log = logging.getLogger(__name__)
PATIENCE = 30.0  # seconds that jobs of a killed sweep get to write their checkpoints
_MANY = 100  # jobs; to compose that many takes seconds
Launch = Callable[[list[list[str]]], Sequence[JobReturn]]  # overrides of each job -> how it ended
Queued = Callable[[], set[Path]]

Describe = Callable[[dict[int, dict[str, Any]]], list[str]]  # configs of jobs by number -> lines


def run_plan(
    plan: Plan,
    arguments: list[str],
    compose: Compose,
    launch: Launch,
    queued: Queued,
    folder: PlanFolder,
    runs: Path,
    describe: Describe | None = None,
) -> None:
    """Run the missing jobs of a plan, print its table and write its report.

    Args:
        arguments: Hydra overrides from the command line.
        compose: compose a config from overrides, without Hydra's own node.
        queued: return the folders of jobs that a scheduler has from an earlier start.
        folder: the folder of the plan.
        runs: the folder of finished runs, to estimate the time from.
        describe: what the launcher says of jobs before they run, if it says anything.

    Raises:
        ConfigError: the plan or any of its jobs has a fault; nothing was run.
        PlanError: not every job is done.
    """
    command_line = CommandLine.parse(arguments)
    plan = command_line.over(plan)
    if (points := len(expand(plan))) > _MANY:
        console().print(f"{folder.name}: composing and checking {points} jobs")
    jobs = folder.job_folders(compose_jobs(plan, command_line, compose))
    if plan.dry_run:
        statuses: list[State] = [job.status() for job in jobs]
        show_jobs(jobs, statuses, runs, retry_failed=plan.retry_failed)
        if describe is not None:
            due = {
                number: job.job.config.model_dump(mode="json")
                for number, (job, status) in enumerate(zip(jobs, statuses, strict=True), 1)
                if action_due(status, retry_failed=plan.retry_failed)
            }
            for line in describe(due):
                console().print(line, markup=False)
        return
    folder.make()
    with locked(folder.path):
        folder.write(plan, jobs)
        due, new = due_jobs(jobs, queued, retry_failed=plan.retry_failed)
        for job in new:
            job.refresh()
        _print_what_is_due(folder, jobs, due)
        unwritten = None
        try:
            ends = _launch_interruptibly(launch, due, folder) if due else {}
        finally:
            unwritten = _report(folder.path)
        _end(folder, jobs, ends)
        if unwritten is not None:
            raise unwritten


def _print_what_is_due(folder: PlanFolder, jobs: list[JobFolder], due: list[JobFolder]) -> None:
    where = os.path.relpath(folder.path)
    to_run = {job.path for job in due}
    rest: list[State] = [job.status() for job in jobs if job.path not in to_run]
    skipped = f" ({counted(rest)} before)" if rest else ""
    console().print(f"{folder.name}: {len(due)} of {len(jobs)} jobs to run{skipped}; {where}")


def due_jobs(
    jobs: Sequence[JobFolder], queued: Queued, *, retry_failed: bool
) -> tuple[list[JobFolder], list[JobFolder]]:
    """Return the jobs to launch, and those among them that no scheduler has.

    A launcher with a queue waits for the jobs that a killed sweep has left in it; other jobs of
    such a sweep stop by themselves, and are waited for here.
    """
    there = queued()
    kept = {job.path for job in jobs if job.path.absolute() in there}
    statuses: dict[Path, State]
    statuses = {job.path: job.status() for job in jobs if job.path in kept}
    statuses |= wait_while_running([job for job in jobs if job.path not in kept], PATIENCE)
    due, new = [], []
    for job in jobs:
        status = statuses[job.path]
        if job.path in kept and status not in ("done", "failed"):
            due.append(job)
        elif action_due(status, retry_failed=retry_failed):
            due.append(job)
            new.append(job)
    return due, new


def wait_while_running(jobs: Sequence[JobFolder], seconds: float) -> dict[Path, State]:
    """Wait for jobs left by a killed sweep, which stop by themselves within seconds.

    Return the states of all ``jobs``; each record is read once, those of running jobs again.
    """
    states: dict[Path, State] = {job.path: job.status() for job in jobs}
    held = [job for job in jobs if states[job.path] == "running"]
    if held:
        console().print(
            f"waiting for {len(held)} jobs of an earlier sweep, which are still running"
        )
    deadline = time.monotonic() + seconds
    while held and time.monotonic() < deadline:
        time.sleep(0.1)
        states |= {job.path: job.status() for job in held}
        held = [job for job in held if states[job.path] == "running"]
    return states


def _launch_interruptibly(
    launch: Launch, due: list[JobFolder], folder: PlanFolder
) -> dict[Path, str]:
    """Call ``_launch``; on a stop signal, raise RunInterrupted once the jobs have stopped."""
    try:
        with Interruption(at_once=KeyboardInterrupt) as interruption:
            try:
                return _launch(launch, due)
            finally:
                interruption.raise_if_requested()
    except RunInterrupted:
        console().print(f"stopped; {_remedy(folder)}", soft_wrap=True)
        raise


def _launch(launch: Launch, due: list[JobFolder]) -> dict[Path, str]:
    """Launch jobs; return how those ended that could not write it into their records.

    Raises:
        UserError: the launcher cannot do what its settings ask for; nothing was run.
    """
    try:
        returns = launch([[run_override(job.path)] for job in due])
    except UserError:
        raise
    except Exception as error:  # The launcher gave up, but records say what its jobs did.
        log.error("the launcher failed: %s", error_line(type(error).__name__, str(error)))
        wait_while_running(due, math.inf)
        return {}
    return {
        job.path: str(ended._return_value)
        for job, ended in zip(due, returns, strict=True)
        if ended.status is JobStatus.FAILED and job.status() != "failed"
    }


def _report(folder: Path) -> RunFolderError | None:
    """Write the report; return the error if that fails, to be raised after the plan's end."""
    try:
        write_reports(folder)
    except RunFolderError as error:
        log.error("the report cannot be written: %s", error)
        return error
    return None


def _remedy(folder: PlanFolder) -> str:
    return f"{_again(folder)} runs what is missing"


def _again(folder: PlanFolder) -> str:
    if folder.found_again:
        return "the same command"
    return f"the same command with {pasteable('hydra.sweep.dir', os.path.relpath(folder.path))}"


def _end(folder: PlanFolder, jobs: list[JobFolder], ends: dict[Path, str]) -> None:
    from ablab.ablation.plan.tracking import send_table

    out = console()
    print_plan(folder.path, out)
    where = os.path.relpath(folder.path)
    out.print(f"{where}/report.html, .md, .csv, .tex", soft_wrap=True)
    statuses: list[State] = [job.status() for job in jobs]
    complete = all(status == "done" for status in statuses)
    send_table(folder.path, jobs, complete=complete)
    if complete:
        return
    out.print(f"\n{counted(statuses)}:")
    show_failures(jobs, statuses, ends, Path.cwd())
    parts = [f"{folder.name}: {counted(statuses)}"]
    if set(statuses) - {"done", "failed", "unreadable"}:
        parts.append(_remedy(folder))
    if "failed" in statuses:
        parts.append(f"{_again(folder)}, with ablation.retry_failed=true, runs what failed again")
    raise PlanError("; ".join(parts))
