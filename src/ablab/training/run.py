"""A run: one object for its folder, config, record, trackers and the signals that stop it."""

import functools
import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer

from ablab import terminal
from ablab.config.schema import Config
from ablab.config.written import label_of, pasteable
from ablab.data.contract import Resumes, RunDataModule
from ablab.errors import RunFolderError
from ablab.report.refresh import refresh_tables
from ablab.runs.clock import seconds_since_start
from ablab.runs.record import FILE_NAME, RunRecord, replace_record
from ablab.runs.resume import refuse_other_data
from ablab.safety.printable import relative
from ablab.safety.signals import Interruption, RunInterrupted
from ablab.trackers import RunInfo, Tracker
from ablab.training.build import build_data, build_trackers
from ablab.training.ranks import is_main_process

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DataFacts:
    """The facts about the data that the record of a run holds."""

    summary: str
    parts: dict[str, dict[str, Any]]
    resumes: Resumes
    baselines: dict[str, dict[str, float]]


def facts_of(data: RunDataModule) -> DataFacts:
    return DataFacts(data.summary(), data.fingerprints(), data.resumes, data.baselines())


@dataclass
class Run:
    """A fit and everything that is kept of it; only rank 0 writes.

    ``folder`` is made absolute, since the user's code may change the working folder. ``clock``
    gives the seconds that the run is charged with.
    """

    folder: Path
    config: Config
    record: RunRecord
    interruption: Interruption
    trackers: list[Tracker] = field(default_factory=list)
    clock: Callable[[], float] = time.perf_counter

    def __post_init__(self) -> None:
        self.folder = self.folder.absolute()
        self._starting = seconds_since_start()
        self._started = self.clock() - self._starting

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Add the seconds that the block takes to ``record.seconds[part]``."""
        started = self.clock()
        try:
            yield
        finally:
            seconds = self.record.seconds
            seconds[part] = seconds.get(part, 0.0) + self.clock() - started

    def read_data(self) -> RunDataModule:
        """Read the data of the run and describe them in its record.

        Raises:
            RunFolderError: these are not the rows with which the run began.
        """
        shown = terminal.doing("reading the data") if is_main_process() else nullcontext()
        with self.timed("data"), shown:
            data = build_data(self.config)
            self.take_data(facts := facts_of(data))
        terminal.say(facts.summary)
        if self.config.checkpoints.every_n_steps and data.resumes != "exact in mid-epoch":
            terminal.say(
                f"Checkpoints are written at epoch ends only: {type(data.own).__name__} cannot "
                f"be continued within an epoch."
            )
        return data

    def take_data(self, facts: DataFacts) -> None:
        """Describe the data in the record.

        Raises:
            RunFolderError: these are not the rows with which the run began.
        """
        record = self.record
        refuse_other_data(record.data_parts, facts.parts)
        record.data, record.data_parts = facts.summary, facts.parts
        record.data_resumes, record.baselines = facts.resumes, facts.baselines

    def take_devices(self, trainer: Trainer, *, continued: bool) -> None:
        """Describe rank 0's device and the number of processes: ``cuda:0 x 2 (NVIDIA H100)``.

        Raises:
            RunFolderError: a run that is continued has had another number of processes.
        """
        before = re.search(r" x (\d+)", self.record.device or "")
        if continued and before is not None and int(before[1]) != trainer.world_size:
            raise RunFolderError(
                f"trainer.devices: the run has had {before[1]} processes, which share its rows, "
                f"and here it would have {trainer.world_size}; continue it with as many devices "
                f"(CUDA_VISIBLE_DEVICES), or begin a new run"
            )
        device = trainer.strategy.root_device
        name = f" ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else ""
        self.record.device = f"{device} x {trainer.world_size}{name}"

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Write the record and finish the trackers when the block ends, with its true end."""
        record = self.record
        record.begin()
        before = record.seconds.pop("total", 0.0)
        record.seconds["start"] = record.seconds.get("start", 0.0) + self._starting
        # Nothing more is known of a run that is killed; reports take its start from it.
        record.seconds["total"] = before + self.clock() - self._started
        self.trackers = build_trackers(self.config)
        exit_code = 1
        try:
            if is_main_process():
                replace_record(self.folder, record)
                if "error" in record.git:
                    _warn_of_no_commit(record.git["error"])
            yield
            record.end("done", exit_code := 0)
        except BaseException as error:
            stop = self.interruption.stop_behind(error)
            if stop is None:
                record.end("failed", exit_code, error)
            else:
                exit_code = stop.exit_code
                record.end("interrupted", exit_code)
                say_how_to_continue(stop, self.folder)
            raise
        finally:
            self.interruption.deferred = True  # a signal waits until the record is written
            self._finish_trackers(exit_code)
            if is_main_process():
                del record.seconds["total"]  # so that it comes last, where people look for it
                record.seconds["total"] = before + self.clock() - self._started
                self._write(failed=exit_code != 0)
        if is_main_process():
            folder, seconds = relative(self.folder), record.seconds["total"]
            terminal.say(f"\nrun folder: {folder}  ({seconds:.1f} s in all)", whole=True)

    def attach_trackers(self, from_step: int) -> None:
        """Open the trackers; what they logged after ``from_step`` will be logged again."""
        record, config = self.record, self.config
        commit = record.git.get("commit", "")[:10]
        label = label_of(record.plan["variant"], record.plan["settings"]) if record.plan else ""
        info = RunInfo(
            folder=relative(self.folder),  # Trackers record it, and show it to the user.
            name=label or config.name,
            group=record.plan.get("name", config.name),
            tags=(f"seed={config.seed}", *([f"commit={commit}"] if commit else [])),
            config=record.config,
            earlier=record.trackers,
            from_step=from_step,
            in_plan=bool(record.plan),
            beside_others=bool(record.stacked),
        )
        for tracker in self.trackers:
            tracker.attach(info)
        record.trackers = {t.name: t.description for t in self.trackers}
        if is_main_process():
            record.write(self.folder)  # so that a killed run continues under the same W&B id

    def _finish_trackers(self, exit_code: int) -> None:
        closing = self.clock()
        for tracker in self.trackers:
            try:
                tracker.finish(exit_code)
            except Exception as error:  # a tracker's fault must not cost the record
                log.warning("%s could not be finished: %s", tracker.name, error)
        self.record.trackers |= {t.name: t.description for t in self.trackers}
        self.record.seconds["trackers_end"] = self.clock() - closing

    def _write(self, *, failed: bool) -> None:
        try:
            self.record.write(self.folder)
        except RunFolderError as error:
            if not failed:
                raise
            log.error("%s", error)  # and not raised, so that the run's own error is the one shown
        if self.record.plan:
            refresh_tables(self.folder.parent)


@functools.cache  # so that a process with many runs says it once
def _warn_of_no_commit(error: str) -> None:
    log.warning("%s will not name the commit of the code: %s", FILE_NAME, error)


def say_how_to_continue(stop: RunInterrupted, folder: Path) -> None:
    """Print the command that continues the run in ``folder``."""
    command = f"python train.py task=fit {pasteable('run', str(relative(folder)))}"
    terminal.say(f"{stop}; continue with: {command}", whole=True)
