"""Phases of a run: each is a fit of its own, with fresh optimiser and schedule.

Freezing is ``requires_grad``, set before a fit, and every parameter is in the optimiser from its
first step. That is fastai's meaning of ``freeze_to``, it keeps the schedule's groups constant, and
it is the only one that is right under DDP, which registers gradients when it wraps the model.
"""

from dataclasses import dataclass

from ablab.config.schema import Config, Optim, Phase, Schedule


@dataclass(frozen=True)
class StepPlan:
    """How batches become optimiser steps, and steps become executions, the units of Lightning's
    work (Keras's ``steps_per_execution``)."""

    steps_per_execution: int = 1
    batches_per_step: int = 1

    @property
    def batches_per_execution(self) -> int:
        return self.steps_per_execution * self.batches_per_step

    def steps_in(self, batches: int) -> int:
        """Of an epoch; its last step takes what batches are left."""
        return -(-batches // self.batches_per_step)


@dataclass(frozen=True)
class PhasePlan:
    """A phase with every setting filled in; ``epochs`` is None where the trainer says how long."""

    name: str
    epochs: int | None
    freeze_to: int
    train_norm: bool
    optim: Optim
    schedule: Schedule
    steps: StepPlan = StepPlan()


def plan_phases(config: Config) -> list[PhasePlan]:
    """The phases in their order; a config without any is one phase over all parameters."""
    if not config.phases:
        return [PhasePlan("fit", None, 0, True, config.optim, config.schedule, _steps(config))]
    return [_plan(config, name, phase) for name, phase in config.phases.items()]


def _plan(config: Config, name: str, phase: Phase) -> PhasePlan:
    own = {"lr": phase.lr, "lr_spread": phase.lr_spread}
    changed = {key: value for key, value in own.items() if value is not None}
    return PhasePlan(
        name,
        phase.epochs,
        phase.freeze_to,
        phase.train_norm,
        config.optim.model_copy(update=changed),
        phase.schedule or config.schedule,
        _steps(config),
    )


def _steps(config: Config) -> StepPlan:
    return StepPlan(config.steps_per_execution, config.trainer.get("accumulate_grad_batches") or 1)
