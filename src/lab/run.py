"""One run from config to record: build, fit, test, show what was learned, write ``run.json``."""

import logging
import os
import signal
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from lightning.pytorch import Trainer

from lab import terminal
from lab.ablation.plan import label_of
from lab.build import (
    build_data,
    build_model,
    build_trackers,
    build_trainer,
    check_objective,
    monitor_of,
)
from lab.checkpoint import Entry, Manifest
from lab.claim import claimed
from lab.cli import seconds_since_start
from lab.config.check import has_validation
from lab.config.schema import Config
from lab.errors import RunFolderError
from lab.fit_errors import raise_cause
from lab.interpret.steps import look_inside, steps_of
from lab.interruption import Interruption, RunInterrupted, end_with_parent
from lab.optim.groups import plan_parameters
from lab.phases import Progress, plan_phases
from lab.ranks import is_main_process
from lab.record import FILE_NAME, RunRecord, write_config
from lab.report.refresh import refresh_tables
from lab.resume import describe_parts, lengthen, refuse_changes, refuse_other_data
from lab.saved import (
    chosen_checkpoint,
    load_weights,
    predict,
    saved_config,
    test_again,
    test_metrics,
)
from lab.sharding import is_sharded
from lab.trackers import RunInfo, Tracker

log = logging.getLogger(__name__)


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
            test_again(folder)
        case "predict":
            predict(folder)
        case "fit":
            if not is_main_process():  # of no use without the others, whom it may wait for
                end_with_parent(os.getppid(), signal.SIGKILL)
                return _fit_anew_or_on(config, folder, overrides)
            with claimed(folder):
                if config.run is None:
                    _refuse_a_second_run(folder)
                return _fit_anew_or_on(config, folder, overrides)
    return None


def continue_run(folder: Path) -> float | None:
    """Begin or continue the run in ``folder``, as its record says; as ``run`` for ``task=fit``."""
    _quieten_libraries()
    with claimed(folder):
        return _continue_fit(folder)


def _quieten_libraries() -> None:
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)  # our own tables say what a run is
    # between lightning 2.6 and torch 2.14; harmless, and nothing a user can mend
    warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated")
    # reports go by optimiser steps over the whole run, so short epochs lose none
    warnings.filterwarnings("ignore", message=".*is smaller than the logging interval")
    # norms of frozen groups are meant to be
    warnings.filterwarnings("ignore", message="Found .* module.s. in eval mode")
    # of what is reported: all processes have the same already
    warnings.filterwarnings("ignore", message="It is recommended to use .self.log.*sync_dist")
    if not torch.cuda.is_available():
        # Lightning has torch ask NVML whether there is a GPU, and optimisers ask before each step
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"


def _refuse_a_second_run(folder: Path) -> None:
    """Raises RunFolderError if ``folder``, named with hydra.run.dir, is that of another run."""
    if (folder / FILE_NAME).is_file():
        raise RunFolderError(
            f"{folder}: a run is there already; continue it with task=fit run={folder}, or name "
            f"another folder"
        )


def _fit_anew_or_on(config: Config, folder: Path, overrides: list[str]) -> float | None:
    if config.run is not None:
        return _continue_fit(folder, _epochs_said(config, overrides))
    record = RunRecord.planned(config.model_dump(mode="json"), overrides)
    return _recorded_fit(config, folder, record)


def _recorded_fit(
    config: Config, folder: Path, record: RunRecord, resume: Entry | None = None
) -> float | None:
    """A fit whose record and trackers tell its true end, however it ends."""
    starting = seconds_since_start()
    started = time.perf_counter() - starting
    record.begin()
    record.seconds["start"] = record.seconds.get("start", 0.0) + starting
    trackers = build_trackers(config)
    main_process = is_main_process()
    exit_code = 1
    with Interruption() as interruption:
        try:
            if main_process:
                record.write(folder)
                write_config(folder, record.config)
            objective = _fit(config, folder, record, trackers, interruption, resume)
            record.end("done", exit_code := 0)
        except RunInterrupted as stop:
            exit_code = stop.exit_code
            record.end("interrupted", exit_code)
            terminal.say(f"{stop}; continue with: python train.py task=fit run={folder}")
            raise
        except BaseException as error:
            record.end("failed", exit_code, error)
            raise
        finally:
            interruption.deferred = True  # the record is written first
            _close(record, trackers, exit_code, closing=time.perf_counter())
            if main_process:
                before = record.seconds.pop("total", 0.0)  # so that it stays the last
                record.seconds["total"] = before + time.perf_counter() - started
                record.write(folder)
                if record.plan:
                    refresh_tables(folder.parent)
    if main_process:
        terminal.say(f"\nrun folder: {folder}  ({record.seconds['total']:.1f} s in all)")
    return objective


def _close(record: RunRecord, trackers: list[Tracker], exit_code: int, *, closing: float) -> None:
    for tracker in trackers:
        try:
            tracker.finish(exit_code)
        except Exception as error:  # one tracker's fault must not cost the record
            log.warning("%s could not be finished: %s", type(tracker).__name__, error)
    record.trackers |= {type(t).__name__: t.description for t in trackers}
    record.seconds["trackers_end"] = time.perf_counter() - closing


def _fit(
    config: Config,
    folder: Path,
    record: RunRecord,
    trackers: list[Tracker],
    interruption: Interruption,
    resume: Entry | None,
) -> float | None:
    with _timed(record, "data"):
        data = build_data(config)
        parts = describe_parts(data.parts)
        if resume is not None:
            refuse_other_data(record.data_parts, parts)
        record.data, record.data_parts = data.summary(), parts
        record.baselines = data.baselines()
    terminal.say(record.data)
    with _timed(record, "build"):
        model = build_model(config, data)
        record.parameters = sum(p.numel() for p in model.parameters())
        record.directions = model.metric_directions
        if resume is None:
            model.load_pretrained()
        check_objective(model, data)
        steps = steps_of(config.interpret, model, data)
    _attach(trackers, config, folder, record)
    for tracker in trackers:  # of a run that began before, also of one without a checkpoint
        tracker.truncate_after(0 if resume is None else resume.step)
    if not has_validation(config):
        terminal.say("no validation part: all training rows are fitted, nothing can be chosen by")
    before = Progress() if resume is None else resume.before
    path = None
    if resume is not None and resume.step > before.steps:  # in the middle of a phase
        path = folder / "checkpoints" / resume.file
    if resume is not None:  # here, where another model is told as such
        load_weights(model, folder, resume)
    phases = plan_phases(config)
    for phase in phases:  # what is wrong with the last shows before the first is trained
        model.begin_phase(phase, before)
        plan_parameters(model, phase.optim)
    launchers = []  # the first phase's starts the processes of all
    for phase in phases[before.phase :]:
        trainer = build_trainer(config, folder, trackers, interruption, phase, before)
        record.device = _device(trainer)
        record.deterministic = (
            torch.are_deterministic_algorithms_enabled()
            and not torch.is_deterministic_algorithms_warn_only_enabled()
        )
        model.begin_phase(phase, before)
        data.first_epoch = before.epochs
        data.batches_per_execution = phase.steps.batches_per_execution
        terminal.show_groups(model)
        with _timed(record, "fit"):
            launchers.append(trainer.strategy.launcher)
            try:
                trainer.fit(model, datamodule=data, ckpt_path=path)
            except BaseException as error:
                raise_cause(error, launchers, interruption, folder)
        path = None
        if trainer.should_stop and trainer.current_epoch < (trainer.max_epochs or 0):
            terminal.say(f"{phase.name}: stopped early, after epoch {trainer.current_epoch}")
        before = Progress(before.phase + 1, model.total_steps, model.total_epochs)
        if is_main_process():
            Manifest(folder / "checkpoints").end_phase(before)
        interruption.raise_if_requested()
    if torch.distributed.is_initialized():  # the test is rank 0's alone
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
    if not is_main_process():
        return None
    if is_sharded(model):  # no process has it whole
        model = build_model(config, data)
    record.steps, record.epochs = before.steps, before.epochs
    chosen = chosen_checkpoint(config, folder)
    last = Manifest(folder / "checkpoints").entries()[-1]
    monitor = monitor_of(config)
    if monitor is not None and monitor not in last.metrics:
        terminal.say(f"step {last.step}, the last, was not validated")
    if chosen != last:
        terminal.say(f"tested is step {chosen.step} of {last.step}, the best by {monitor}")
    record.checkpoints = {"chosen": chosen.file, "last": last.file}
    record.metrics["last"] = last.metrics
    record.metrics["chosen"] = chosen.metrics
    load_weights(model, folder, chosen)
    if config.test:
        with _timed(record, "test"):
            record.metrics["test"] = test_metrics(config, model, data)
        terminal.show_test(type(model).__name__, record.metrics["test"], record.baselines)
        terminal.warn_of_baselines(config.objective, record.metrics["test"], record.baselines)
    for tracker in trackers:
        tracker.log_summary({f"test/{k}": v for k, v in record.metrics.get("test", {}).items()})
    with _timed(record, "interpret"):
        look_inside(steps, model.eval(), data, folder, trackers, test=config.test)
    return chosen.metrics.get(monitor_of(config) or "")


def _epochs_said(config: Config, overrides: list[str]) -> int | None:
    """To how many a run is to be continued, if that was said beside its folder."""
    said = any(o.lstrip("+").startswith("trainer.max_epochs=") for o in overrides)
    return config.trainer.get("max_epochs") if said else None


def _continue_fit(folder: Path, epochs: int | None = None) -> float | None:
    """``epochs``: how long the run shall be; None for as long as it was to be."""
    record = RunRecord.read(folder)
    if is_main_process():
        refuse_changes(folder, record)
    config = saved_config(folder)
    if epochs is not None and epochs != config.trainer.get("max_epochs"):
        config = lengthen(folder, record, epochs)
    elif record.status == "done":
        terminal.say(f"{folder}: the run is finished; nothing is left to do")
        return record.metrics.get("chosen", {}).get(monitor_of(config) or "")
    if record.status == "planned":
        return _recorded_fit(config, folder, record)
    resume = Manifest(folder / "checkpoints").newest_that_verifies()
    at = (
        "from the beginning: it has no undamaged checkpoint"
        if resume is None
        else f"at step {resume.step}"
    )
    terminal.say(f"continuing {folder} {at}")
    return _recorded_fit(config, folder, record, resume)


def _device(trainer: Trainer) -> str:
    """``cpu x 1``, ``cuda:0 x 2 (NVIDIA H100)``: of rank 0, times how many processes."""
    device = trainer.strategy.root_device
    name = f" ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else ""
    return f"{device} x {trainer.world_size}{name}"


def _attach(trackers: list[Tracker], config: Config, folder: Path, record: RunRecord) -> None:
    commit = record.git.get("commit", "")[:10]
    wandb_id = record.trackers.get("WandbTracker", {}).get("id")
    info = RunInfo(
        folder=folder,
        name=label_of(record.plan["variant"], record.plan["settings"]) or config.name
        if record.plan
        else config.name,
        group=record.plan.get("name", config.name),
        tags=(f"seed={config.seed}", *([f"commit={commit}"] if commit else [])),
        config=record.config,
        wandb_id=wandb_id,
    )
    for tracker in trackers:
        tracker.attach(info)
    record.trackers = {type(t).__name__: t.description for t in trackers}
    if is_main_process():
        record.write(folder)  # a killed run is continued under the same W&B id


@contextmanager
def _timed(record: RunRecord, part: str) -> Iterator[None]:
    started = time.perf_counter()
    try:
        yield
    finally:
        record.seconds[part] = record.seconds.get(part, 0.0) + time.perf_counter() - started
