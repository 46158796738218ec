"""The phases of a run: each is a fit of its own, with a new optimiser and a new schedule.

Freezing sets ``requires_grad`` before a fit, and the optimiser holds every parameter from the first
step. That is what ``freeze_to`` means in fastai; it keeps the schedule's groups constant; and under
DDP, which registers gradients when it wraps the model, nothing else would be right.
"""

import math
from dataclasses import dataclass
from typing import Any

from lightning.fabric.utilities.data import sized_len
from lightning.pytorch import Trainer

from ablab.config.schema import Config, Optim, Phase
from ablab.config.schema.schedule import Plateau, Schedule
from ablab.data.batches import Executions


@dataclass(frozen=True)
class StepPlan:
    """The number of batches of an optimiser step, and of steps of an execution.

    Lightning is given one execution at a time (``steps_per_execution`` of Keras).
    """

    steps_per_execution: int = 1
    batches_per_step: int = 1

    @property
    def batches_per_execution(self) -> int:
        return self.steps_per_execution * self.batches_per_step

    def steps_in(self, batches: float) -> float:
        """Return the steps of an epoch of ``batches``; its last step may have fewer batches."""
        return batches if batches == math.inf else -(-batches // self.batches_per_step)


def steps_of_an_epoch(trainer: Trainer, plan: StepPlan) -> float:
    """Return the optimiser steps of an epoch; infinite for data without a known length.

    Of a module that takes its optimiser steps itself, it is the number of batches.
    """
    loader: Any = trainer.train_dataloader
    if not isinstance(loader, Executions):
        return plan.steps_in(trainer.num_training_batches)
    batches = sized_len(loader.loader)
    return math.inf if batches is None else plan.steps_in(batches)


def steps_of_a_fit(trainer: Trainer, plan: StepPlan) -> float:
    """Return the optimiser steps of a fit from its beginning to its end."""
    steps = steps_of_an_epoch(trainer, plan) * max(trainer.max_epochs or 1, 1)
    if trainer.max_epochs == -1:
        steps = math.inf
    return steps if trainer.max_steps == -1 else min(steps, trainer.max_steps)


@dataclass(frozen=True)
class PhasePlan:
    """A phase with all its settings; ``epochs`` is None if the trainer gives its length."""

    name: str
    epochs: int | None
    freeze_to: int
    train_norm: bool
    optim: Optim | None
    schedule: Schedule | None
    steps: StepPlan = StepPlan()


def plan_phases(config: Config) -> list[PhasePlan]:
    """Return the phases in their order; a config without any has one, over all parameters."""
    if not config.phases:
        schedule = _schedule(config, config.schedule)
        return [PhasePlan("fit", None, 0, True, config.optim, schedule, _steps(config))]
    return [_plan(config, name, phase) for name, phase in config.phases.items()]


def _plan(config: Config, name: str, phase: Phase) -> PhasePlan:
    own = {"lr": phase.lr, "lr_spread": phase.lr_spread}
    changed = {key: value for key, value in own.items() if value is not None}
    return PhasePlan(
        name,
        phase.epochs,
        phase.freeze_to,
        phase.train_norm,
        config.optim and config.optim.model_copy(update=changed),
        _schedule(config, phase.schedule or config.schedule),
        _steps(config),
    )


def _schedule(config: Config, schedule: Schedule | None) -> Schedule | None:
    """Return the schedule; a plateau without a monitor follows the objective."""
    if not isinstance(schedule, Plateau):
        return schedule
    followed = {
        "monitor": schedule.monitor or config.monitor,
        "mode": schedule.mode or config.objective.mode,
    }
    return schedule.model_copy(update=followed)


def _steps(config: Config) -> StepPlan:
    return StepPlan(config.steps_per_execution, config.trainer.get("accumulate_grad_batches") or 1)
