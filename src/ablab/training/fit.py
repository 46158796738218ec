"""The fit of a run: its phases, the test, and what was learned."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch.optim import Optimizer

from ablab import terminal
from ablab.config.metric_names import without_stage
from ablab.config.schema import Config
from ablab.data.contract import RunDataModule
from ablab.errors import ConfigError, first_line
from ablab.optim.optimizers import build_optimizer, describe_groups, describe_optimizers
from ablab.runs.checkpoints import Entry, Manifest, Progress
from ablab.runs.find import chosen_checkpoint
from ablab.training import terminal_tables
from ablab.training.build import build_model, build_trainer
from ablab.training.data_end import refuse_no_batches
from ablab.training.epoch_table import epoch_lines
from ablab.training.evaluation import load_weights, test_metrics, train_metrics
from ablab.training.interpretations import Step, build_steps, interpret
from ablab.training.logged import LoggedSums, Position
from ablab.training.module import SupervisedModule
from ablab.training.own_steps import (
    OwnSteps,
    begin_own_phase,
    describe_model,
    describe_own_optimizers,
)
from ablab.training.phases import PhasePlan, plan_phases
from ablab.training.ranks import is_main_process, leave_group, raise_cause
from ablab.training.run import Run
from ablab.training.sharding import is_sharded
from ablab.training.trial import check_on_two_rows
from ablab.training.waiting import watched_fit


def fit(run: Run, data: RunDataModule, resume: Entry | None) -> float | None:
    """Train, test and interpret; fill in the run's record, which the caller writes.

    Args:
        resume: the checkpoint to continue from; None for a run that begins.

    Returns:
        The best validation metric, on rank 0.

    Raises:
        UserError: for what the user can fix.
        RunInterrupted: a signal asked to stop.
    """
    config, record = run.config, run.record
    with run.timed("build"):
        model = build_model(config, data)
        record.parameters = sum(p.numel() for p in model.parameters())
        if isinstance(model, SupervisedModule):
            record.directions = model.metric_directions
            if resume is None:
                model.load_pretrained()
            check_on_two_rows(config, model, data)
        else:
            metric = without_stage(config.objective.metric)
            record.directions = {metric: config.objective.mode}
            record.model = describe_model(model, config)
        steps = build_steps(config.interpret, model, data)
    run.attach_trackers(from_step=0 if resume is None else resume.step)
    if not data.has_validation:
        terminal.say(
            "No validation part: all training rows are used, and the last checkpoint is kept."
        )
    if resume is not None:  # here too, so that a checkpoint of another model is a clear error
        load_weights(model, config, run.folder, resume)
    with epoch_lines(config) as lines:
        reached = _train(run, data, model, resume, lines)
    if not is_main_process():
        return None
    if is_sharded(model):  # no process has the whole of it
        model = build_model(config, data)
    record.steps, record.epochs = reached.steps, reached.epochs
    return conclude(run, data, model, steps)


def conclude(
    run: Run,
    data: RunDataModule,
    model: LightningModule,
    steps: Mapping[str, Step],
    measure: Callable[[Config, LightningModule, RunDataModule], dict[str, float]] = test_metrics,
) -> float | None:
    """Test the checkpoint that is chosen, by ``measure``, and interpret it; return its metric."""
    config, record = run.config, run.record
    chosen = _choose_checkpoint(run, data)
    load_weights(model, config, run.folder, chosen)
    if config.test and not is_overridden("test_step", model):
        terminal.say(f"{type(model).__name__} has no test_step, so nothing is tested.")
    elif config.test:
        with run.timed("test"), terminal.doing("testing"):
            record.metrics["test"] = measure(config, model, data)
        terminal_tables.show_test(type(model).__name__, record.metrics["test"], record.baselines)
        terminal_tables.warn_of_baselines(
            config.objective, record.metrics["test"], record.baselines
        )
    of_train = {}
    if config.objective.train_metrics:
        with run.timed("test"), terminal.doing("testing"):
            of_train = train_metrics(config, model, data)
        record.metrics["chosen"] = {**chosen.metrics, **of_train}
        single = [f"{name} {v:.4f}" for name, v in of_train.items() if name.count("/") < 2]
        terminal.say(f"on the training part: {'  '.join(single)}")
    tested = {f"test/{k}": v for k, v in record.metrics.get("test", {}).items()}
    for tracker in run.trackers:
        tracker.log_summary({**tested, **of_train})
    with run.timed("interpret"), terminal.doing("interpreting"):
        interpret(steps, model.eval(), data, run.folder, run.trackers, test=config.test)
    return chosen.metrics.get(config.monitor or "")


def _train(
    run: Run,
    data: RunDataModule,
    model: LightningModule,
    resume: Entry | None,
    lines: terminal_tables.EpochLines,
) -> Progress:
    """Train the remaining phases; return the progress reached."""
    before = Progress() if resume is None else resume.before
    path = None
    if resume is not None and resume.step > before.steps:  # it is in the middle of a phase
        path = run.folder / "checkpoints" / resume.file
    phases = plan_phases(run.config)
    for phase in phases:  # so that a fault of the last one shows before the first is trained
        _prepare(model, phase, phases)
        if phase.optim is not None:
            build_optimizer(model, phase.optim)
    launchers = []  # the launcher of the first phase starts the processes of all phases
    for phase in phases[before.phase :]:
        _prepare(model, phase, phases)
        before = _train_phase(run, data, model, phase, before, path, launchers, lines)
        path = None
        if is_main_process():
            Manifest(run.folder / "checkpoints").end_phase(before)
        run.interruption.raise_if_requested()
    leave_group(launchers, run.interruption, run.folder)  # only rank 0 tests
    return before


def _train_phase(
    run: Run,
    data: RunDataModule,
    model: LightningModule,
    phase: PhasePlan,
    before: Progress,
    path: Path | None,
    launchers: list[Any],
    lines: terminal_tables.EpochLines,
) -> Progress:
    """Train one phase, from the checkpoint at ``path`` if there is one."""
    position = Position(before)
    lines.begin_phase(phase, position)
    ours: list[Callback] = [_OptimizersRecorded(run, phase), LoggedSums(), lines]
    config, batches = run.config, phase.steps.batches_per_execution
    if isinstance(model, SupervisedModule):
        model.begin_phase(phase, before)
    else:
        batches = None
        ours.insert(0, OwnSteps(config.seeds.order, config.error_if_nonfinite, position))
    trainer = build_trainer(
        config, run.folder, run.trackers, run.interruption, phase, position, ours, data
    )
    run.take_devices(trainer, continued=before.steps > 0 or path is not None)
    run.record.deterministic = (
        torch.are_deterministic_algorithms_enabled()
        and not torch.is_deterministic_algorithms_warn_only_enabled()
    )
    data.begin_phase(before.epochs, batches)
    with run.timed("fit"):
        launchers.append(trainer.strategy.launcher)
        try:
            with watched_fit(run, trainer):
                trainer.fit(model, datamodule=data, ckpt_path=path)
                refuse_no_batches(trainer)
        except MisconfigurationException as error:
            raise ConfigError(f"{type(model).__name__}: {first_line(error)}") from error
        except BaseException as error:
            raise_cause(error, launchers, run.interruption, run.folder)
    if trainer.should_stop and trainer.current_epoch < (trainer.max_epochs or 0):
        terminal.say(f"{phase.name}: stopped early, after epoch {trainer.current_epoch}")
    return Progress(before.phase + 1, position.steps, position.epochs)


def _prepare(model: LightningModule, phase: PhasePlan, phases: list[PhasePlan]) -> None:
    """Freeze as ``phase`` says."""
    if isinstance(model, SupervisedModule):
        model.freeze_to(phase.freeze_to, train_norm=phase.train_norm)
    else:
        begin_own_phase(model, phase, freezes=any(other.freeze_to for other in phases))


def describe_phase(phase: PhasePlan, optimizer: Optimizer) -> dict[str, Any]:
    """Return what a record holds of the optimiser of a phase, as it was built."""
    assert phase.schedule is not None
    return {
        "classes": describe_optimizers(optimizer),
        "schedule": phase.schedule.name,
        "groups": [asdict(row) for row in describe_groups(optimizer)],
    }


class _OptimizersRecorded(Callback):
    """Write into the record of a run what a phase trains with, as it was built."""

    def __init__(self, run: Run, phase: PhasePlan) -> None:
        self.run, self.phase = run, phase

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        recorded = self.run.record.optimizers
        if self.phase.optim is None:  # a continued phase has other rates by now
            recorded.setdefault(self.phase.name, describe_own_optimizers(trainer))
        else:
            (optimizer,) = trainer.optimizers
            recorded[self.phase.name] = describe_phase(self.phase, optimizer)
        if is_main_process():
            self.run.record.write(self.run.folder)  # a killed run goes on in a later phase


def _choose_checkpoint(run: Run, data: RunDataModule) -> Entry:
    """Return the checkpoint that is tested and kept as the run's result."""
    chosen = chosen_checkpoint(run.config, run.folder)
    last = Manifest(run.folder / "checkpoints").entries()[-1]
    monitor = run.config.monitor
    if monitor in chosen.metrics and not math.isfinite(chosen.metrics[monitor]):
        terminal.say(f"{monitor} is finite at no checkpoint, so the last one is chosen.")
    elif monitor is not None and monitor not in chosen.metrics and data.has_validation:
        terminal.say(
            f"{monitor} was measured at no checkpoint, so the last one is chosen; validate at the "
            f"ends of epochs (trainer.check_val_every_n_epoch, trainer.val_check_interval)."
        )
    elif chosen.step != last.step:
        late = "" if monitor in last.metrics else " (which was not validated)"
        terminal.say(f"Testing step {chosen.step} of {last.step}{late}, the best by {monitor}.")
    run.record.checkpoints = {"chosen": chosen.file, "last": last.file}
    run.record.metrics["last"] = last.metrics
    run.record.metrics["chosen"] = chosen.metrics
    return chosen
