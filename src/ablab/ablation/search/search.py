"""Search a space: draw trials, run each as a job like a plan's, and keep their values."""

import math
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeGuard

from hydra.core.utils import JobReturn, JobStatus
from rich.text import Text

from ablab.ablation.launch.launch import JobKilled, run_override
from ablab.ablation.plan.command_line import CommandLine
from ablab.ablation.plan.compose import Compose, Job
from ablab.ablation.plan.folder import JobFolder, PlanFolder
from ablab.ablation.plan.listing import error_line
from ablab.ablation.plan.plan import Plan
from ablab.ablation.plan.sweep import Launch, Queued, due_jobs
from ablab.ablation.search.listing import show_end, show_progress, show_start
from ablab.ablation.search.space import split_space
from ablab.ablation.search.study import FrozenTrial, SearchStudy
from ablab.ablation.search.trial_configs import TrialConfigs, about
from ablab.config.metric_names import monitored
from ablab.config.schema import Config, Count, FolderName, Section, Seed
from ablab.errors import ConfigError, PlanError, RunFolderError, UserError
from ablab.report.write import console, write_reports
from ablab.runs.record import FILE_NAME, RunRecord
from ablab.safety.folder_lock import locked, refuse_links
from ablab.safety.printable import printable
from ablab.safety.signals import Interruption, RunInterrupted


class SearchSettings(Section):
    """The settings of ``hydra.sweeper``."""

    study: FolderName
    trials: Count
    batch: Count
    sampler: Literal["tpe", "random"]
    seed: Seed


def run_search(
    settings: SearchSettings,
    arguments: list[str],
    compose: Compose,
    launch: Launch,
    queued: Queued,
    searches: Path,
) -> None:
    """Run the missing trials of a search, and print the best.

    Args:
        arguments: Hydra overrides from the command line, with the space among them.
        compose: compose a config from overrides, without Hydra's own node.
        queued: return the folders of jobs that a scheduler has from an earlier start.
        searches: the folder of all searches, each in a folder of its name.

    Raises:
        ConfigError: the space or a config in it has a fault; nothing was run.
        RunFolderError: the folder holds another search, or another process runs one there.
        PlanError: not every trial has a value; the best were printed.
    """
    space, rest = split_space(arguments)
    command_line = CommandLine.parse(rest)
    if all(override.key_or_group != "test" for override in command_line.plain):
        # A search must not choose by the test part.
        command_line = CommandLine.parse([*rest, "++test=false"])
    trials = TrialConfigs(space, command_line, compose)
    config = trials.probe()
    folder = PlanFolder(searches / settings.study, settings.study, found_again=True)
    folder.make()
    with locked(folder.path):
        study = SearchStudy(folder.path, config.objective, space)
        study.agree(about(config, space))
        search = Search(
            settings,
            trials,
            study,
            folder,
            launch,
            queued,
            monitored(config.objective.model_dump()),
        )
        try:
            with Interruption():
                search.run()
        except RunInterrupted:
            console().print("stopped; the same command continues the search")
            raise
        finally:
            search.report()
        search.end(rest)


class Search:
    """Draw trials, launch them and write their results into the study.

    Trials are drawn a batch at a time, up to the next multiple of its size, so that a killed
    search draws the rest of its batch as it would have.
    """

    def __init__(
        self,
        settings: SearchSettings,
        configs: TrialConfigs,
        study: SearchStudy,
        folder: PlanFolder,
        launch: Launch,
        queued: Queued,
        metric: str,
    ) -> None:
        self.settings = settings
        self.metric = metric
        self._configs = configs
        self._study = study
        self._folder = folder
        self._launch = launch
        self._queued = queued
        self._axes = Plan(zip={p.key: [None] for p in configs.space}, metrics=[metric])
        self._stopped: dict[int, str] = {}  # number of a trial without a value -> the reason
        self._run_again: set[int] = set()
        self._jobs = self._jobs_so_far()

    def run(self) -> None:
        show_start(self._folder.path, self._study, self.settings.trials)
        paces: list[float] = []  # seconds a trial; a median, since the first trial imports torch
        while due := self._due():
            started = time.monotonic()
            self._run(due)
            paces.append((time.monotonic() - started) / len(due))
            pace = statistics.median(paces)
            show_progress(self._study, self.metric, self.settings.trials, pace)

    def report(self) -> None:
        if self._jobs:  # Without a job there is no plan.json.
            write_reports(self._folder.path)

    def end(self, rest: list[str]) -> None:
        """Print the best trials; raise PlanError if a trial has no value."""
        missing = show_end(self._folder.path, self._study, self.metric, rest, self._stopped)
        if missing is not None:
            raise PlanError(f"{self._folder.name}: {missing}")

    def _due(self) -> list[FrozenTrial]:
        def unfinished() -> list[FrozenTrial]:
            return [trial for trial in self._study.running() if trial.number not in self._stopped]

        while (count := len(self._study.trials)) < self.settings.trials:
            if unfinished() and count % self.settings.batch == 0:
                break
            self._draw()
        return unfinished()

    def _draw(self) -> None:
        drawn = self._study.draw(self.settings.sampler, self.settings.seed)
        try:
            job = self._configs.job(drawn)
        except ConfigError as error:  # These values are valid alone but contradict each other.
            self._study.add_failed(drawn, error_line("ConfigError", str(error)))
            return
        self._jobs[job.folder_name] = job  # Two trials may draw the same point.
        self._folder.write(self._axes, self._folder.job_folders(list(self._jobs.values())))
        self._study.add(drawn, job.folder_name)

    def _run(self, trials: Sequence[FrozenTrial]) -> None:
        names = list(dict.fromkeys(trial.user_attrs["folder"] for trial in trials))
        folders = self._folder.job_folders([self._jobs[name] for name in names])
        by_name = dict(zip(names, folders, strict=True))
        each_once = list({f.path: f for f in folders}.values())  # Two trials may be one job.
        due, new = due_jobs(each_once, self._queued, retry_failed=False)
        for folder in new:
            refuse_links(folder.path)
        returns: Sequence[JobReturn] = []
        if due:
            try:
                returns = self._launch([[run_override(f.path)] for f in due])
            except UserError:
                raise
            except Exception as error:
                reason = error_line(type(error).__name__, str(error))
                raise PlanError(
                    f"{self._folder.name}: the launcher failed ({reason}); "
                    f"the same command continues the search"
                ) from error
        ends = {f.path: ended for f, ended in zip(due, returns, strict=True)}
        for trial in trials:
            folder = by_name[trial.user_attrs["folder"]]
            self._record_end(trial.number, folder, ends.get(folder.path))

    def _record_end(self, number: int, folder: JobFolder, ended: JobReturn | None) -> None:
        try:
            status, record = folder.status(), folder.record()
        except RunFolderError as lost:  # Somebody has removed or damaged its folder.
            self._study.tell_failed(number, str(lost))
            return
        if status == "done":
            value = record.metrics.get("chosen", {}).get(self.metric)
            if value is not None and math.isfinite(value):
                self._study.tell(number, value)
            else:
                what = "was not measured" if value is None else f"is {value}"
                self._study.tell_failed(number, f"{self.metric} {what}")
        elif status == "failed" and record.error is not None:
            error = error_line(record.error["type"], record.error["message"])
            self._study.tell_failed(number, error)
        elif status == "planned" and _could_not_begin(ended):
            error = ended._return_value
            self._study.tell_failed(number, error_line(type(error).__name__, str(error)))
        else:
            reason = "was stopped" + ("" if ended is None else f" ({ended._return_value})")
            if ended is None or number in self._run_again:
                self._stopped[number] = reason
            else:  # It is run again only once: what killed it may always do so.
                self._run_again.add(number)
                line = f"  trial {number}: {reason}; it is run again"
                console().print(Text(printable(line)), soft_wrap=True)

    def _jobs_so_far(self) -> dict[str, Job]:
        """Return the jobs of the study by the names of their folders, from their records."""
        jobs = {}
        for trial in self._study.trials:
            name = trial.user_attrs.get("folder")
            if name is None:
                continue
            try:
                record = RunRecord.read(self._folder.path / name)
            except RunFolderError:
                if trial in self._study.running():
                    self._study.tell_failed(trial.number, f"{name}/{FILE_NAME} is gone or damaged")
                continue
            jobs[name] = _job(record)
        return jobs


def _could_not_begin(ended: JobReturn | None) -> TypeGuard[JobReturn]:
    """Return whether a job failed before it could write its record, and would again."""
    return (
        ended is not None
        and ended.status is JobStatus.FAILED
        and not isinstance(ended._return_value, JobKilled)
    )


def _job(record: RunRecord) -> Job:
    config, settings = Config.model_validate(record.config), record.plan["settings"]
    return Job(None, settings, config.seed, config, record.config_hash, record.overrides)
