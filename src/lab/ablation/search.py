"""A search from its space to its best trial: each trial is a job like a plan's, and told once."""

import math
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeGuard

from hydra.core.utils import JobReturn, JobStatus
from pydantic import ValidationError
from rich.text import Text

from lab.ablation.compose import CommandLine, Compose, Job
from lab.ablation.findings import show_end, show_progress, show_start
from lab.ablation.folder import JobFolder, PlanFolder
from lab.ablation.launch import JobKilled, run_override
from lab.ablation.listing import action_due, error_line
from lab.ablation.plan import Plan
from lab.ablation.space import split_space
from lab.ablation.study import FrozenTrial, SearchStudy
from lab.ablation.sweep import PATIENCE, Launch, wait_while_running
from lab.ablation.trial_configs import TrialConfigs, about
from lab.claim import claimed, refuse_links
from lab.config.schema import Config, Count, FolderName, Section, Seed
from lab.errors import ConfigError, PlanError, RunFolderError, UserError
from lab.interruption import Interruption, RunInterrupted
from lab.printable import printable
from lab.record import FILE_NAME, RunRecord
from lab.report.write import console, write_reports


class SearchSettings(Section):
    """What ``hydra.sweeper`` says."""

    study: FolderName
    trials: Count
    batch: Count
    sampler: Literal["tpe", "random"]
    seed: Seed


def read_settings(values: Mapping[str, Any]) -> SearchSettings:
    """Raises ConfigError with every fault, one a line."""
    try:
        return SearchSettings.model_validate(values)
    except ValidationError as error:
        raise ConfigError(
            "\n".join(
                f"hydra.sweeper.{e['loc'][0]}: {e['msg'][e['msg'].find('should') :]} "
                f"(it is {e['input']!r})"
                for e in error.errors()
            )
        ) from error


def run_search(
    settings: SearchSettings,
    arguments: list[str],
    compose: Compose,
    launch: Launch,
    searches: Path,
) -> None:
    """Run the trials that are missing of a search, and show the best.

    Args:
        arguments: what was said on the command line, the space among it.
        compose: Hydra's composition, without its own node.
        searches: where searches are kept, each in a folder of its name.

    Raises:
        ConfigError: something is wrong with the space or with configs in it; nothing was run.
        RunFolderError: another search is kept in the folder, or goes on there.
        PlanError: not every trial has a value; what is found was shown.
    """
    space, rest = split_space(arguments)
    command_line = CommandLine.parse(rest)
    if all(override.key_or_group != "test" for override in command_line.plain):
        command_line = CommandLine.parse([*rest, "++test=false"])  # nothing is chosen by it
    trials = TrialConfigs(space, command_line, compose)
    config = trials.probe()
    folder = PlanFolder(searches / settings.study, settings.study, found_again=True)
    folder.make()
    with claimed(folder.path):
        study = SearchStudy(folder.path, config.objective, space)
        study.agree(about(config, space))
        search = Search(settings, trials, study, folder, launch, f"val/{config.objective.metric}")
        try:
            with Interruption():
                search.run()
        except RunInterrupted:
            console().print("stopped; the same command goes on")
            raise
        finally:
            search.report()
        search.end(rest)


class Search:
    """Draws trials, launches them and tells the study how they ended.

    Trials are drawn a batch at a time, up to the next multiple of its size, so that a search that
    was killed within a batch draws the rest of it as it would have.
    """

    def __init__(
        self,
        settings: SearchSettings,
        configs: TrialConfigs,
        study: SearchStudy,
        folder: PlanFolder,
        launch: Launch,
        metric: str,
    ) -> None:
        self.settings = settings
        self.metric = metric
        self._configs = configs
        self._study = study
        self._folder = folder
        self._launch = launch
        self._axes = Plan(zip={p.key: [None] for p in configs.space}, metrics=[metric])
        self._stopped: dict[int, str] = {}  # numbers of trials that have no value yet -> why
        self._run_again: set[int] = set()
        self._jobs = self._jobs_so_far()

    def run(self) -> None:
        show_start(self._folder.path, self._study, self.settings.trials)
        paces: list[float] = []  # seconds a trial; the first imports torch
        while due := self._due():
            started = time.monotonic()
            self._run(due)
            paces.append((time.monotonic() - started) / len(due))
            pace = statistics.median(paces)
            show_progress(self._study, self.metric, self.settings.trials, pace)

    def report(self) -> None:
        if self._jobs:  # else there is no plan either
            write_reports(self._folder.path)

    def end(self, said: list[str]) -> None:
        """Raises PlanError if a trial has no value."""
        told = show_end(self._folder.path, self._study, self.metric, said, self._stopped)
        if told is not None:
            raise PlanError(f"{self._folder.name}: {told}")

    def _due(self) -> list[FrozenTrial]:
        def begun() -> list[FrozenTrial]:
            return [trial for trial in self._study.running() if trial.number not in self._stopped]

        while (count := len(self._study.trials)) < self.settings.trials:
            if begun() and count % self.settings.batch == 0:
                break
            self._draw()
        return begun()

    def _draw(self) -> None:
        drawn = self._study.draw(self.settings.sampler, self.settings.seed)
        try:
            job = self._configs.job(drawn)
        except ConfigError as error:  # of settings that do not go together
            self._study.add_failed(drawn, error_line("ConfigError", str(error)))
            return
        self._jobs[job.folder_name] = job  # the same as before, if it is the same point
        self._folder.write(self._axes, self._folder.job_folders(list(self._jobs.values())))
        self._study.add(drawn, job.folder_name)

    def _run(self, trials: Sequence[FrozenTrial]) -> None:
        names = list(dict.fromkeys(trial.user_attrs["folder"] for trial in trials))
        folders = self._folder.job_folders([self._jobs[name] for name in names])
        by_name = dict(zip(names, folders, strict=True))
        wait_while_running(folders, PATIENCE)
        each_once = {f.path: f for f in folders}.values()  # settings may make no difference
        due = [f for f in each_once if action_due(f.status(), retry_failed=False)]
        for folder in due:
            refuse_links(folder.path)
        returns: Sequence[JobReturn] = []
        if due:
            try:
                returns = self._launch([[run_override(f.path)] for f in due])
            except UserError:
                raise
            except Exception as error:
                raise PlanError(
                    f"{self._folder.name}: the launcher failed "
                    f"({error_line(type(error).__name__, str(error))}); the same command goes on"
                ) from error
        ends = {f.path: ended for f, ended in zip(due, returns, strict=True)}
        for trial in trials:
            folder = by_name[trial.user_attrs["folder"]]
            self._tell(trial.number, folder, ends.get(folder.path))

    def _tell(self, number: int, folder: JobFolder, ended: JobReturn | None) -> None:
        status, record = folder.status(), folder.record()
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
            told = "was stopped" + ("" if ended is None else f" ({ended._return_value})")
            if ended is None or number in self._run_again:
                self._stopped[number] = told
            else:  # once: what kills it may do so every time
                self._run_again.add(number)
                line = f"  trial {number}: {told}; it is run again"
                console().print(Text(printable(line)), soft_wrap=True)

    def _jobs_so_far(self) -> dict[str, Job]:
        """By the names of their folders, as their records have them."""
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
    """Whether a job has failed by itself, and would again."""
    return (
        ended is not None
        and ended.status is JobStatus.FAILED
        and not isinstance(ended._return_value, JobKilled)
    )


def _job(record: RunRecord) -> Job:
    config = Config.model_validate(record.config)
    settings = record.plan["settings"]
    return Job(None, settings, config.seed, config, record.config_hash, record.overrides)
