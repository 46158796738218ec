"""A plan from its config to its report: only what is missing is run, and nothing stops the rest."""

import logging
import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from hydra.core.utils import JobReturn, JobStatus

from lab.ablation.compose import CommandLine, Compose, compose_jobs
from lab.ablation.folder import JobFolder, PlanFolder, State
from lab.ablation.launch import run_override
from lab.ablation.listing import action_due, counted, show_failures, show_jobs
from lab.ablation.plan import Plan, expand
from lab.claim import claimed
from lab.errors import PlanError, RunFolderError, UserError
from lab.interruption import Interruption, RunInterrupted
from lab.overrides import pasteable
from lab.report.write import console, print_plan, write_reports

log = logging.getLogger(__name__)
PATIENCE = 30.0  # seconds, for jobs of a sweep that was killed to write their checkpoints
_MANY = 100  # jobs; to compose that many takes seconds
Launch = Callable[[list[list[str]]], Sequence[JobReturn]]  # overrides of each job -> how it ended


def run_plan(
    plan: Plan,
    arguments: list[str],
    compose: Compose,
    launch: Launch,
    folder: PlanFolder,
    runs: Path,
) -> None:
    """Run what is missing of a plan, and show its table.

    Args:
        arguments: what was said on the command line.
        compose: Hydra's composition, without its own node.
        runs: where finished runs lie, for an estimate of the time.

    Raises:
        ConfigError: something is wrong with the plan or with any of its jobs; nothing was run.
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
        return
    folder.make()
    with claimed(folder.path):
        folder.write(plan, jobs)
        wait_while_running(jobs, PATIENCE)  # those of a sweep that was killed
        before: list[State] = [job.status() for job in jobs]
        due = [
            job
            for job, status in zip(jobs, before, strict=True)
            if action_due(status, retry_failed=plan.retry_failed)
        ]
        for job in due:
            job.refresh()
        _say_what_is_due(folder, jobs, due)
        unwritten = None
        try:
            ends = _launch_until_told_to_stop(launch, due, folder) if due else {}
        finally:
            unwritten = _report(folder.path)
        _end(folder, jobs, ends)
        if unwritten is not None:
            raise unwritten


def _say_what_is_due(folder: PlanFolder, jobs: list[JobFolder], due: list[JobFolder]) -> None:
    where = os.path.relpath(folder.path)
    to_run = {job.path for job in due}
    rest: list[State] = [job.status() for job in jobs if job.path not in to_run]
    skipped = f" ({counted(rest)} before)" if rest else ""
    console().print(f"{folder.name}: {len(due)} of {len(jobs)} jobs to run{skipped}; {where}")


def wait_while_running(jobs: list[JobFolder], seconds: float) -> None:
    """For jobs that are nobody's any more: they end by themselves, but not at once."""
    held = [job for job in jobs if job.status() == "running"]
    if held:
        console().print(
            f"waiting for {len(held)} jobs that still run, with no sweep to wait for them"
        )
    deadline = time.monotonic() + seconds
    while held and time.monotonic() < deadline:
        time.sleep(0.1)
        held = [job for job in held if job.status() == "running"]


def _launch_until_told_to_stop(
    launch: Launch, due: list[JobFolder], folder: PlanFolder
) -> dict[Path, str]:
    """As ``_launch``. Raises RunInterrupted, once the jobs have stopped."""
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
    """What the launcher knows of jobs that ended before they could write it into their records.

    Raises:
        UserError: the launcher was asked for what it cannot do; nothing was run.
    """
    try:
        returns = launch([[run_override(job.path)] for job in due])
    except UserError:
        raise
    except Exception as error:  # a launcher that gives up; what its jobs did is in their records
        told = str(error).strip().splitlines() or [""]
        log.error("the launcher failed: %s: %s", type(error).__name__, told[0])
        wait_while_running(due, math.inf)
        return {}
    return {
        job.path: str(ended._return_value)
        for job, ended in zip(due, returns, strict=True)
        if ended.status is JobStatus.FAILED and job.status() != "failed"
    }


def _report(folder: Path) -> RunFolderError | None:
    """Gives back why it cannot be written: how a plan ended is to be told before that."""
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
    from lab.ablation.tracking import send_table

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
    told = [f"{folder.name}: {counted(statuses)}"]
    if set(statuses) - {"done", "failed", "unreadable"}:
        told.append(_remedy(folder))
    if "failed" in statuses:
        told.append(f"{_again(folder)}, with ablation.retry_failed=true, tries again what failed")
    raise PlanError("; ".join(told))
