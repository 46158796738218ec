"""The fit of a run: data and model, its phases, the test, and what was learned."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import torch
from lightning.pytorch import Trainer

from lab import terminal
from lab.ablation.plan import label_of
from lab.build import build_data, build_model, build_trainer, monitor_of, try_out
from lab.checkpoint import Entry, Manifest
from lab.config.schema import Config
from lab.data.loader import TensorDataModule
from lab.epoch_table import epoch_lines
from lab.fit_errors import raise_cause
from lab.interpret.steps import look_inside, steps_of
from lab.interruption import Interruption, RunInterrupted
from lab.launched import MAIN_PROCESS
from lab.module import SupervisedModule
from lab.optim.groups import plan_parameters
from lab.phases import Progress, plan_phases
from lab.ranks import is_main_process, launched_by
from lab.record import RunRecord
from lab.resume import describe_parts, refuse_other_data
from lab.saved import chosen_checkpoint, load_weights, test_metrics
from lab.sharding import is_sharded
from lab.trackers import RunInfo, Tracker
from lab.waiting import watched


def fit(
    config: Config,
    folder: Path,
    record: RunRecord,
    data: TensorDataModule,
    trackers: list[Tracker],
    interruption: Interruption,
    resume: Entry | None,
) -> float | None:
    """Train, test and look inside; what happened is told in ``record``, which is left to the caller
    to write. Returns the best validation metric, on rank 0.

    Args:
        resume: the checkpoint to go on from; None for a run that begins.

    Raises:
        UserError: for what the user can mend.
        RunInterrupted: a signal asked to stop.
    """
    with _timed(record, "build"):
        model = build_model(config, data)
        record.parameters = sum(p.numel() for p in model.parameters())
        record.directions = model.metric_directions
        if resume is None:
            model.load_pretrained()
        try_out(config, model, data)
        steps = steps_of(config.interpret, model, data)
    _attach(trackers, config, folder, record)
    for tracker in trackers:  # of a run that began before, also of one without a checkpoint
        tracker.truncate_after(0 if resume is None else resume.step)
    if not config.has_validation:
        terminal.say("no validation part: all training rows are fitted, nothing can be chosen by")
    if resume is not None:  # here, where another model is told as such
        load_weights(model, config, folder, resume)
    with epoch_lines(config) as lines:
        reached = _train(config, folder, record, data, model, trackers, interruption, resume, lines)
    if torch.distributed.is_initialized():  # the test is rank 0's alone
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
    if not is_main_process():
        return None
    if is_sharded(model):  # no process has it whole
        model = build_model(config, data)
    record.steps, record.epochs = reached.steps, reached.epochs
    chosen = _choose(config, folder, record)
    load_weights(model, config, folder, chosen)
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


def read_data(config: Config, record: RunRecord) -> TensorDataModule:
    """What the run learns from, described in ``record``.

    Raises:
        RunFolderError: these are not the rows with which the run began.
    """
    with _timed(record, "data"):
        data = build_data(config)
        parts = describe_parts(data.parts)
        refuse_other_data(record.data_parts, parts)
        record.data, record.data_parts = (summary := data.summary()), parts
        record.baselines = data.baselines()
    terminal.say(summary)
    return data


def _train(
    config: Config,
    folder: Path,
    record: RunRecord,
    data: TensorDataModule,
    model: SupervisedModule,
    trackers: list[Tracker],
    interruption: Interruption,
    resume: Entry | None,
    lines: terminal.EpochLines,
) -> Progress:
    """The phases that are left; what the run has come to."""
    before = Progress() if resume is None else resume.before
    path = None
    if resume is not None and resume.step > before.steps:  # in the middle of a phase
        path = folder / "checkpoints" / resume.file
    phases = plan_phases(config)
    for phase in phases:  # what is wrong with the last shows before the first is trained
        model.begin_phase(phase, before)
        plan_parameters(model, phase.optim)
    launchers = []  # the first phase's starts the processes of all
    for phase in phases[before.phase :]:
        trainer = build_trainer(config, folder, trackers, interruption, phase, before, lines)
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
                with _watched(trainer, interruption, record, folder):
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
    return before


def _watched(
    trainer: Trainer, interruption: Interruption, record: RunRecord, folder: Path
) -> AbstractContextManager[None]:
    """Watch over a fit of several processes (``lab.waiting``), which may wait for each other."""
    if trainer.world_size == 1:
        return nullcontext()
    starts_them = not launched_by().creates_processes_externally
    if starts_them:
        os.environ[MAIN_PROCESS] = str(os.getpid())  # for the processes that Lightning will start

    def notice() -> None:
        if trainer.local_rank == 0 and (trainer.num_nodes > 1 or not starts_them):
            print(  # noqa: T201
                f"waiting for the other processes of this run ({trainer.world_size} in all) at "
                f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}; Ctrl-C stops it",
                file=sys.stderr,
            )

    def give_up(number: int) -> None:
        record.end("interrupted", 128 + number)
        if is_main_process():
            record.write(folder)
        terminal.say(
            f"{RunInterrupted(number)}, while the run was waiting for its other processes; "
            f"continue with: python train.py task=fit run={folder}",
            whole=True,
        )

    return watched(interruption, notice=notice, give_up=give_up)


def _choose(config: Config, folder: Path, record: RunRecord) -> Entry:
    """The checkpoint that is tested and kept as the run's result."""
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
    return chosen


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
        in_plan=bool(record.plan),
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
