"""The schedulers: they apply a schedule to every group of an optimiser."""

from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ablab.config.schema.schedule import Plateau, Schedule
from ablab.errors import CheckpointError, ConfigError
from ablab.optim.explicit_decay import averages_weights, parts_of
from ablab.optim.schedules import momentum, rate_of, reductions, steps_in_common


def _with_momentum(optimizer: Optimizer) -> list[Optimizer]:
    """Return the optimisers that have momentum: betas, or a momentum that they were built with.

    A schedule may take momentum to 0 and back. Optimisers that average their weights do so by
    their first beta, which a schedule must not move.
    """
    return [
        part
        for part in parts_of(optimizer)
        if isinstance(part.defaults.get("betas"), tuple) or part.defaults.get("momentum")
        if not averages_weights(part)
    ]


def momentum_of(optimizer: Optimizer) -> float | None:
    """Return the β₁ of Adam or the momentum of SGD and RMSprop, which the groups with one share;
    None for an optimiser built without momentum."""
    parts = _with_momentum(optimizer)
    if not parts:
        return None
    group = parts[0].param_groups[0]
    return group["betas"][0] if "betas" in group else group["momentum"]


def build_scheduler(optimizer: Optimizer, schedule: Schedule, total_steps: int) -> "GroupScheduler":
    """Return the scheduler of ``schedule``; call ``step`` after each optimiser step.

    Raises:
        ConfigError: ``total_steps`` is not positive, as in a run without an end.
    """
    if isinstance(schedule, Plateau):
        return PlateauScheduler(optimizer, schedule, total_steps)
    return GroupScheduler(optimizer, schedule, total_steps)


class GroupScheduler(LRScheduler):
    """Set the learning rate of every group, and its momentum if the schedule moves that too."""

    def __init__(self, optimizer: Optimizer, schedule: Schedule, total_steps: int) -> None:
        if total_steps < 1:
            raise ConfigError(
                f"schedule.{schedule.name}: needs a run of known length, not {total_steps} steps; "
                f"set trainer.max_epochs or trainer.max_steps"
            )
        self.schedule = schedule
        self.total_steps = total_steps
        self._rate = rate_of(schedule)
        self._cycled = _with_momentum(optimizer)  # plain SGD has none to cycle
        super().__init__(optimizer)

    def get_lr(self) -> list[float]:  # type: ignore[override]
        self._set_momentum()
        return [
            self._rate(self.last_epoch, self.total_steps, group["base_lr"])
            for group in self.optimizer.param_groups
        ]

    def _set_momentum(self) -> None:
        value = momentum(self.schedule, self.last_epoch, self.total_steps)
        if value is None:
            return
        for part in self._cycled:
            for group in part.param_groups:
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
        """Load the state.

        Raises:
            CheckpointError: it belongs to another schedule, or to one of another length under which
                the steps so far would have had other rates.
        """
        name, total_steps = state_dict["schedule"], state_dict["total_steps"]
        done = state_dict["last_epoch"]
        if name != self.schedule.name or (
            total_steps != self.total_steps
            and steps_in_common(self.schedule, total_steps, self.total_steps) < done
        ):
            raise CheckpointError(
                f"the checkpoint's schedule is {name} over {total_steps} steps, this run's "
                f"{self.schedule.name} over {self.total_steps}; under this one the first {done} "
                f"steps would have had other rates, so start a new run"
            )
        self.last_epoch = done
        self._step_count = state_dict["step_count"]
        self._last_lr = list(state_dict["last_lr"])
        if total_steps != self.total_steps:  # the next step may have another rate
            self._apply()

    def _apply(self) -> None:
        self._last_lr = list(self.get_lr())
        for group, rate in zip(self.optimizer.param_groups, self._last_lr, strict=True):
            group["lr"] = rate


class PlateauScheduler(GroupScheduler):
    """A scheduler that also reduces the rates when a metric stops improving.

    Its state holds the values of all validations, of which the reductions are a pure function.
    """

    def __init__(self, optimizer: Optimizer, schedule: Plateau, total_steps: int) -> None:
        self.plateau = schedule
        self._values: list[float] = []
        super().__init__(optimizer, schedule, total_steps)

    def get_lr(self) -> list[float]:  # type: ignore[override]
        factor = self.plateau.gamma ** reductions(self._values, self.plateau)
        return [factor * rate for rate in super().get_lr()]

    def measure(self, value: float) -> None:
        """Take note of a validation; the next step has the rate that follows from it."""
        self._values.append(value)
        self._apply()

    def step(self, metric: Any = None) -> None:  # type: ignore[override]
        """Count an optimiser step or, with ``metric``, a validation, as Lightning does."""
        if metric is None:
            super().step()
        else:
            self.measure(float(metric))

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "values": list(self._values)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._values = list(state_dict["values"])
        super().load_state_dict(state_dict)
