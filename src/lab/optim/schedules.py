"""Schedules as pure functions of the step, and the scheduler that applies one to all groups alike.

``lr(schedule, step, total_steps, peak)`` is the learning rate of optimiser step ``step`` (0-based)
of ``total_steps``, for a group whose peak is ``peak``; ratios between groups hold at every step.
"""

import math
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lab.config.schema import Constant, Cosine, OneCycle, Schedule, Step
from lab.errors import CheckpointError, ConfigError


def lr(schedule: Schedule, step: int, total_steps: int, peak: float) -> float:
    """The learning rate at ``step``; past the end it stays at the last step's."""
    step = min(step, total_steps - 1)
    match schedule:
        case Constant():
            return peak
        case OneCycle():
            start = peak / schedule.div_factor
            end = start / schedule.final_div_factor
            return _cycle(schedule, step, total_steps, start, peak, end, schedule.up)
        case Cosine(final_ratio=ratio):
            fraction = step / max(total_steps - 1, 1)
            return peak * (ratio + (1 - ratio) * (1 + math.cos(math.pi * fraction)) / 2)
        case Step(milestones=milestones, gamma=gamma):
            return peak * gamma ** sum(step >= m * total_steps for m in milestones)


def momentum(schedule: Schedule, step: int, total_steps: int) -> float | None:
    """Momentum, or Adam's β₁, at ``step``; None where the schedule leaves it alone."""
    if not isinstance(schedule, OneCycle) or schedule.momentum is None:
        return None
    at_ends, at_peak = schedule.momentum
    step = min(step, total_steps - 1)
    return _cycle(schedule, step, total_steps, at_ends, at_peak, at_ends, schedule.up)


def _cycle(
    schedule: OneCycle,
    step: int,
    total_steps: int,
    start: float,
    peak: float,
    end: float,
    up: str,
) -> float:
    """From ``start`` to ``peak`` to ``end``; both shapes in the arithmetic of their source.

    ``cos``: torch's OneCycleLR, cosine both ways, its peak at step pct_start · total - 1; where
    that is not positive, at which torch divides by zero or runs backwards, the first step.
    ``linear``: fastai 1.0.28, linear up and cosine down, its peak at step int(pct_start · total);
    there the end is reached only after the last step.
    """
    if up == "cos":
        peak_step = max(schedule.pct_start * total_steps - 1, 0.0)
        last = total_steps - 1
        if step <= peak_step:
            return _cosine(start, peak, step / peak_step) if peak_step else peak
        return _cosine(peak, end, (step - peak_step) / (last - peak_step))
    rising = int(total_steps * schedule.pct_start)
    if step < rising:
        return start + (step / rising) * (peak - start)
    return _cosine(peak, end, (step - rising) / (total_steps - rising))


def _cosine(start: float, end: float, fraction: float) -> float:
    return end + (start - end) / 2.0 * (math.cos(math.pi * fraction) + 1)


def momentum_of(optimizer: Optimizer) -> float | None:
    """Return the β₁ of Adam or the momentum of SGD and RMSprop, which all groups share; None for an
    optimiser built without momentum. A schedule may take momentum to 0 and back."""
    group = optimizer.param_groups[0]
    if "betas" in group:
        return group["betas"][0]
    return group["momentum"] if optimizer.defaults.get("momentum") else None


class GroupScheduler(LRScheduler):
    """Sets lr, and momentum where it is cycled, of every group; stepped after each optimiser step.

    Raises:
        ConfigError: ``total_steps`` is not positive, as for a run without an end.
    """

    def __init__(self, optimizer: Optimizer, schedule: Schedule, total_steps: int) -> None:
        if total_steps < 1:
            raise ConfigError(
                f"schedule.{schedule.name}: needs a run of known length, not {total_steps} steps; "
                f"set trainer.max_epochs or trainer.max_steps"
            )
        self.schedule = schedule
        self.total_steps = total_steps
        super().__init__(optimizer)

    def get_lr(self) -> list[float]:  # type: ignore[override]
        self._set_momentum()
        return [
            lr(self.schedule, self.last_epoch, self.total_steps, group["base_lr"])
            for group in self.optimizer.param_groups
        ]

    def _set_momentum(self) -> None:
        value = momentum(self.schedule, self.last_epoch, self.total_steps)
        if value is None or momentum_of(self.optimizer) is None:  # plain SGD has none to cycle
            return
        for group in self.optimizer.param_groups:
            if "betas" in group:
                group["betas"] = (value, *group["betas"][1:])
            else:
                group["momentum"] = value

    def state_dict(self) -> dict[str, Any]:
        return {
            "schedule": self.schedule.name,
            "total_steps": self.total_steps,
            "last_epoch": self.last_epoch,
            "step_count": self._step_count,
            "last_lr": list(self._last_lr),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Raises CheckpointError if the state is of another schedule, or of another length where
        that matters."""
        saved = (state_dict["schedule"], state_dict["total_steps"])
        same_length = isinstance(self.schedule, Constant) or saved[1] == self.total_steps
        if saved[0] != self.schedule.name or not same_length:
            raise CheckpointError(
                f"the checkpoint's schedule is {saved[0]} over {saved[1]} steps, this run's "
                f"{self.schedule.name} over {self.total_steps}; a schedule cannot change its "
                f"length in the middle, so start a new run"
            )
        self.last_epoch = state_dict["last_epoch"]
        self._step_count = state_dict["step_count"]
        self._last_lr = list(state_dict["last_lr"])
