"""The engine's additions to a LightningModule with its own steps, around these.

Its random numbers are functions of the position in the run, its losses, gradients and state are
checked for being finite, and it gets the optimiser of the config if it configures none itself.
"""

from functools import partial
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from ablab import terminal
from ablab.config.model_faults import refuse_manual
from ablab.config.schema import Config, NonFiniteCheck
from ablab.optim.configure import configure_optimizers
from ablab.training.freezing import freeze_to, frozen_batch_norms
from ablab.training.logged import Position
from ablab.training.nonfinite import (
    NonFiniteLossError,
    describe_loss,
    refuse_nonfinite_gradients,
    refuse_nonfinite_state,
)
from ablab.training.phases import PhasePlan
from ablab.training.randomness import reseed_all
from ablab.training.running_loss import RunningLoss

RESUME = "exact if all state of the module is in parameters, buffers, metrics or on_save_checkpoint"
_VALIDATION = -1  # stands for the batch in the seed of a validation


def begin_own_phase(module: LightningModule, phase: PhasePlan, *, freezes: bool) -> None:
    """Freeze as ``phase`` says, and give the module the config's optimiser if it has none.

    Args:
        freezes: whether a phase of the run freezes; without one, what the module has frozen itself
            stays so.
    """
    if freezes:
        groups: Any = module.layer_groups  # the check of the config has found the method
        freeze_to(module, groups(), phase.freeze_to, train_norm=phase.train_norm)
    if phase.optim is not None:
        module.configure_optimizers = partial(_configure, module, phase)
    module.train()


def _configure(module: LightningModule, phase: PhasePlan) -> Any:
    assert phase.optim is not None
    assert phase.schedule is not None
    steps = module.trainer.estimated_stepping_batches
    return configure_optimizers(module, phase.optim, phase.schedule, steps)


class OwnSteps(Callback):
    """The callback of a fit of a module with its own steps; it comes before all others."""

    def __init__(self, seed: int, check: NonFiniteCheck, position: Position) -> None:
        self._seed = seed
        self._check = check
        self._position = position
        self.losses = RunningLoss(error_if_nonfinite=check != "none")
        self._loss = torch.zeros(())  # the latest, for a message
        self._followed: dict[Any, float] = {}  # by plateau schedules, as the checkpoint has it
        self._owed = ""  # the interval, "epoch" or "step", of those that have yet to be told

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._followed = checkpoint.get("followed", {})
        self._owed = checkpoint.get("owed", "")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._frozen = list(frozen_batch_norms(pl_module))
        self._reported = self._position.steps
        loop: Any = trainer.fit_loop.epoch_loop
        loop._get_monitor_value = partial(self._latest, trainer)

    def _latest(self, trainer: Trainer, metric: str) -> Any:
        """Return the latest value of a metric, also one that was logged before the checkpoint."""
        return trainer.callback_metrics.get(metric, self._followed.get(metric))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.fit_loop.restarting:  # Lightning leaves it out where a fit began in mid-epoch.
            self._owed = "epoch"

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._owed == "epoch":
            self._tell_plateaus(trainer, pl_module, trainer.current_epoch)

    def _tell_plateaus(self, trainer: Trainer, module: LightningModule, number: int) -> None:
        """Tell plateau schedules what the epoch or the batch before has measured, the ``number``th.

        Lightning does it after the checkpoint of an epoch or a batch.
        """
        interval, self._owed = self._owed, ""
        loop = trainer.fit_loop.epoch_loop
        for config in trainer.lr_scheduler_configs:
            due = config.interval == interval and number % config.frequency == 0
            metric = self._latest(trainer, config.monitor or "")
            if config.reduce_on_plateau and due and metric is not None:
                loop.scheduler_progress.increment_ready()
                module.lr_scheduler_step(config.scheduler, metric)
                loop.scheduler_progress.increment_completed()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self._owed == "step":
            self._tell_plateaus(trainer, pl_module, batch_idx)
        reseed_all(pl_module.device, *self._place(trainer, batch_idx))
        for norm in self._frozen:
            norm.eval()

    def _place(self, trainer: Trainer, batch: int) -> tuple[int, ...]:
        return self._seed, self._position.epochs, batch, trainer.global_rank

    def on_before_backward(
        self, trainer: Trainer, pl_module: LightningModule, loss: Tensor
    ) -> None:
        if self._check != "none" and loss.numel() == 1:
            self._loss = loss.detach().squeeze()
            self.losses.add(self._loss, 1, self._position.steps + 1)

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        if self._check == "gradients":
            names = {id(p): name for name, p in pl_module.named_parameters()}
            own = [(names.get(id(p), "?"), p) for g in optimizer.param_groups for p in g["params"]]
            refuse_nonfinite_gradients(own, self._position.steps + 1, self._loss)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        every = trainer.log_every_n_steps  # pyright: ignore[reportAttributeAccessIssue]
        step, before, self._reported = self._position.steps, self._reported, self._position.steps
        if every and step // every > before // every:
            self._check_losses(pl_module)

    def _check_losses(self, module: LightningModule) -> None:
        try:
            self.losses.close_window()
        except NonFiniteLossError as error:
            parameters = list(module.named_parameters())
            raise describe_loss(error, parameters, self._position.steps) from error

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self._check_losses(pl_module)
        reseed_all(pl_module.device, *self._place(trainer, _VALIDATION), self._position.steps)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._check_losses(pl_module)
        plateaus = [config for config in trainer.lr_scheduler_configs if config.reduce_on_plateau]
        values = {c.monitor: self._latest(trainer, c.monitor or "") for c in plateaus}
        checkpoint["followed"] = {k: float(v) for k, v in values.items() if v is not None}
        checkpoint["owed"] = "epoch" if trainer.is_last_batch else "step"
        if self._check != "none":
            refuse_nonfinite_state(
                pl_module,
                list(pl_module.named_parameters()),
                trainer.optimizers,
                self._position.steps,
            )


def describe_own_optimizers(trainer: Trainer) -> dict[str, Any]:
    """Return what a record says of optimisers that the module has configured itself."""
    groups = [
        {
            "optimizer": type(optimizer).__name__,
            "parameters": sum(p.numel() for p in group["params"]),
            **{key: value for key, value in group.items() if key != "params" and _is_plain(value)},
        }
        for optimizer in trainer.optimizers
        for group in optimizer.param_groups
    ]
    schedulers = [
        {
            "class": _name_of(config.scheduler),
            "optimizer": type(config.scheduler.optimizer).__name__,
            "interval": config.interval,
            "frequency": config.frequency,
            **({"monitor": config.monitor} if config.reduce_on_plateau else {}),
        }
        for config in trainer.lr_scheduler_configs
    ]
    classes = [_name_of(optimizer) for optimizer in trainer.optimizers]
    return {"classes": classes, "schedule": None, "schedulers": schedulers, "groups": groups}


def _name_of(instance: object) -> str:
    return f"{type(instance).__module__}.{type(instance).__qualname__}"


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_plain(inner) for inner in value)
    return value is None or type(value) in (bool, int, float, str)


def describe_model(module: LightningModule, config: Config) -> dict[str, Any]:
    """Return what a record says of a module with its own steps; print what does not hold for it.

    Raises:
        ConfigError: it takes its optimiser steps itself, and the config has settings for them.
    """
    if not module.automatic_optimization:
        refuse_manual(config)
    groups: Any = getattr(module, "layer_groups", None)
    own = config.optim is None
    optimizers = "its own; optim and schedule are not used" if own else "those of the config"
    layers: list[Any] = [*groups()] if callable(groups) else ["all"]  # type: ignore[misc]
    terminal.say(
        f"{type(module).__name__} has its own training step. Metrics: those that it logs. "
        f"Optimisers: {optimizers}.{'' if callable(groups) else ' Layers: one group.'} A continued "
        f"run is {RESUME}."
    )
    return {
        "class": _name_of(module),
        "steps": "its own",
        "optimization": "automatic" if module.automatic_optimization else "manual",
        "optimizers": optimizers,
        "layer_groups": layers,
        "resume": RESUME,
    }
