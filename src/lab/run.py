"""What a task does with its config and folder; a fit gets a record that tells its true end."""

import functools
import logging
import os
import time
import warnings
from dataclasses import replace
from pathlib import Path

import torch

from lab import terminal
from lab.atomic import is_there, remove_leftovers
from lab.build import build_trackers, monitor_of
from lab.checkpoint import Entry, Manifest
from lab.claim import claimed
from lab.cli import seconds_since_start
from lab.config.schema import Config
from lab.errors import RunFolderError
from lab.fit import fit, read_data
from lab.interruption import Interruption, RunInterrupted
from lab.overrides import pasteable
from lab.phases import Progress
from lab.ranks import end_with_launcher, is_main_process
from lab.record import FILE_NAME, RunRecord, replace_record
from lab.report.refresh import refresh_tables
from lab.resume import lengthen, refuse_changes, refuse_to_lengthen
from lab.saved import predict, saved_config, test_again
from lab.trackers import Tracker

log = logging.getLogger(__name__)
_OF_HYDRA = ("run.log", ".hydra")  # it writes them into the folder of a run that has not begun


def run(config: Config, folder: Path, overrides: list[str]) -> float | None:
    """Do what ``config.task`` says. Returns the objective of a fit, the best validation metric.

    Args:
        folder: where a new run lives, or the run that ``config.run`` names.
        overrides: what was said on the command line, for the record.

    Raises:
        UserError: for what the user can mend.
    """
    _quieten_libraries()
    match config.task:
        case "lr_find":
            if is_main_process():
                from lab.lr_find import run_range_test  # imports matplotlib

                run_range_test(config, folder, overrides)
        case "test":
            if is_main_process():
                test_again(config, folder)
        case "predict":
            if is_main_process():
                predict(config, folder)
        case "fit":
            end_with_launcher()
            if not is_main_process():
                return _fit_anew_or_on(config, folder, overrides)
            with claimed(folder):
                if config.run is None:
                    _refuse_a_second_run(folder)
                return _fit_anew_or_on(config, folder, overrides)
    return None


def continue_run(folder: Path) -> float | None:
    """Begin or continue the run in ``folder``, as its record says; as ``run`` for ``task=fit``."""
    _quieten_libraries()
    with claimed(folder), Interruption() as interruption:
        return _continue_fit(folder, interruption)


def _quieten_libraries() -> None:
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)  # our own tables say what a run is
    # between lightning 2.6 and torch 2.14; harmless, and nothing a user can mend
    warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated")
    # reports go by optimiser steps over the whole run, so short epochs lose none
    warnings.filterwarnings("ignore", message=".*is smaller than the logging interval")
    # norms of frozen groups are meant to be
    warnings.filterwarnings("ignore", message="Found .* module.s. in eval mode")
    # Lightning looks for srun where a run on SLURM may well be of one process
    warnings.filterwarnings("ignore", message="The `srun` command is available")
    # of what is reported: all processes have the same already
    warnings.filterwarnings("ignore", message="It is recommended to use .self.log.*sync_dist")
    if not torch.cuda.is_available():
        # Lightning has torch ask NVML whether there is a GPU, and optimisers ask before each step
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"


def _refuse_a_second_run(folder: Path) -> None:
    """Raise RunFolderError if ``folder``, named with hydra.run.dir, is in use.

    A config can name any folder, and a run replaces files such as config.yaml.
    """
    if is_there(folder / FILE_NAME):
        raise RunFolderError(
            f"{folder}: a run is there already; continue it with task=fit "
            f"{pasteable('run', str(folder))}, or name "
            f"another folder"
        )
    names = sorted(path.name for path in folder.iterdir() if path.suffix != ".part")
    others = [name for name in names if name not in _OF_HYDRA]
    if others:
        raise RunFolderError(
            f"{folder}: holds other files ({others[0]}); name a new folder with hydra.run.dir=…"
        )


def _fit_anew_or_on(config: Config, folder: Path, overrides: list[str]) -> float | None:
    with Interruption() as interruption:
        if config.run is not None:
            return _continue_fit(folder, interruption, _epochs_said(config, overrides))
        record = RunRecord.planned(config.model_dump(mode="json"), overrides)
        return _recorded_fit(config, folder, record, interruption)


def _recorded_fit(
    config: Config,
    folder: Path,
    record: RunRecord,
    interruption: Interruption,
    resume: Entry | None = None,
    longer: int | None = None,
) -> float | None:
    """A fit whose record and trackers tell its true end, however it ends.

    ``longer``: to how many epochs a run that goes on becomes longer.
    """
    starting = seconds_since_start()
    started = time.perf_counter() - starting
    # other rows are refused before anything of a run is changed
    data = None if resume is None else read_data(config, record)
    if longer is not None:
        config = lengthen(folder, record, longer)
        resume = resume and replace(resume, before=Progress())  # in its one phase, open again
    record.begin()
    before = record.seconds.pop("total", 0.0)
    record.seconds["start"] = record.seconds.get("start", 0.0) + starting
    # of a run that is killed this is what is known; reports take its start from it
    record.seconds["total"] = before + time.perf_counter() - started
    trackers = build_trackers(config)
    main_process = is_main_process()
    exit_code = 1
    try:
        if main_process:
            replace_record(folder, record)
            if "error" in record.git:
                _tell_of_no_commit(record.git["error"])
        if data is None:
            data = read_data(config, record)
        objective = fit(config, folder, record, data, trackers, interruption, resume)
        record.end("done", exit_code := 0)
    except BaseException as error:
        stop = interruption.stop_behind(error)
        if stop is None:
            record.end("failed", exit_code, error)
        else:
            exit_code = stop.exit_code
            record.end("interrupted", exit_code)
            _say_how_to_continue(stop, folder)
        raise
    finally:
        interruption.deferred = True  # the record is written first
        _close(record, trackers, exit_code, closing=time.perf_counter())
        if main_process:
            del record.seconds["total"]  # so that it stays the last
            record.seconds["total"] = before + time.perf_counter() - started
            _write(record, folder, also_failed=exit_code != 0)
    if main_process:
        seconds = record.seconds["total"]
        terminal.say(f"\nrun folder: {folder}  ({seconds:.1f} s in all)", whole=True)
    return objective


@functools.cache  # one line a process, however many runs it makes
def _tell_of_no_commit(error: str) -> None:
    log.warning("%s will not name the commit of the code: %s", FILE_NAME, error)


def _say_how_to_continue(stop: RunInterrupted, folder: Path) -> None:
    again = f"python train.py task=fit {pasteable('run', str(folder))}"
    terminal.say(f"{stop}; continue with: {again}", whole=True)


def _write(record: RunRecord, folder: Path, *, also_failed: bool) -> None:
    try:
        record.write(folder)
    except RunFolderError as error:
        if not also_failed:
            raise
        log.error("%s", error)  # what has ended the run is told after it
    if record.plan:
        refresh_tables(folder.parent)


def _close(record: RunRecord, trackers: list[Tracker], exit_code: int, *, closing: float) -> None:
    for tracker in trackers:
        try:
            tracker.finish(exit_code)
        except Exception as error:  # one tracker's fault must not cost the record
            log.warning("%s could not be finished: %s", type(tracker).__name__, error)
    record.trackers |= {type(t).__name__: t.description for t in trackers}
    record.seconds["trackers_end"] = time.perf_counter() - closing


def _epochs_said(config: Config, overrides: list[str]) -> int | None:
    """To how many a run is to be continued, if that was said beside its folder."""
    said = any(o.lstrip("+").startswith("trainer.max_epochs=") for o in overrides)
    return config.trainer.get("max_epochs") if said else None


def _continue_fit(
    folder: Path, interruption: Interruption, epochs: int | None = None
) -> float | None:
    """``epochs``: how long the run shall be; None for as long as it was to be."""
    record = RunRecord.read(folder)
    if is_main_process():
        remove_leftovers(folder)
    try:
        return _continued(folder, record, interruption, epochs)
    except BaseException as error:
        stop = interruption.stop_behind(error)
        if stop is not None and record.status == "running" and is_main_process():
            # it was killed before, and is stopped now before its record has begun again
            record.end("interrupted", stop.exit_code)
            record.write(folder)
            _say_how_to_continue(stop, folder)
        raise


def _continued(
    folder: Path, record: RunRecord, interruption: Interruption, epochs: int | None
) -> float | None:
    if is_main_process():
        refuse_changes(folder, record)
    config = saved_config(folder)
    longer = None if epochs == config.trainer.get("max_epochs") else epochs
    if longer is not None:
        refuse_to_lengthen(record, config, longer)
    elif record.status == "done":
        terminal.say(f"{folder}: the run is finished; nothing is left to do", whole=True)
        return record.metrics.get("chosen", {}).get(monitor_of(config) or "")
    if record.status == "planned":
        return _recorded_fit(config, folder, record, interruption)
    resume = Manifest(folder / "checkpoints").newest_that_verifies()
    if resume is None:
        record.data_parts = {}  # nothing is left of what their rows have taught
    at = (
        "from the beginning: it has no undamaged checkpoint"
        if resume is None
        else f"at step {resume.step}"
    )
    terminal.say(f"continuing {folder} {at}", whole=True)
    return _recorded_fit(config, folder, record, interruption, resume, longer)
