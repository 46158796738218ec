"""Optimisers whose weight decay is ours, whatever class they are of, and several as one.

In torch, SGD and RMSprop offer L2 decay only, Adam keeps its switch to decoupled decay in the
parameter groups, where loading a checkpoint changes it silently, and others decay in other ways
again. Here every class gets a weight decay of 0, and one mix-in handles all modes.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from ablab.errors import CheckpointError, ConfigError, first_line
from ablab.optim.decay import l2_coefficient, shrink_factor

# The advice in errors about parameters or arguments that an optimiser refuses.
REMEDY = (
    "change its arguments, give it only parameters that it takes with a rule (as optim=muon does), "
    "or take another optimiser"
)
_FIXED_KEYS = ("name", "decay_mode", "decay_value", "base_lr", "param_names")


class ExplicitDecay(Optimizer):
    """A mix-in for torch optimisers that decays the weights inside ``step``, after the closure.

    A pre-step hook would be too early: under Lightning the closure runs forward and backward, so
    the gradient would be taken at weights that have decayed already.
    """

    _has_stepped = False

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        after: list[Callable[[], None]] = []
        for group in self.param_groups:
            mode, value = group["decay_mode"], group["decay_value"]
            l2 = l2_coefficient(mode, value)
            shrink = shrink_factor(mode, value, group["lr"], group["base_lr"])
            if not l2 and not shrink:
                continue
            learning = [p for p in group["params"] if p.grad is not None]
            if not learning:
                continue
            if l2:
                after.append(_add_to_gradients(learning, -l2 if group.get("maximize") else l2))
            elif mode == "cautious":
                after.append(_shrink_where_agreed(learning, shrink))
            else:
                torch._foreach_mul_(learning, 1 - shrink)  # pyright: ignore[reportPrivateImportUsage]
        try:
            super().step()
        except (AssertionError, RuntimeError, TypeError, ValueError) as error:
            # Many classes look at their parameters only now. Memory has a message of its own.
            if self._has_stepped or "allocate" in str(error):
                raise
            raise ConfigError(
                f"optim: {type(self).__name__} cannot take its first step ({first_line(error)}); "
                f"{REMEDY}"
            ) from error
        self._has_stepped = True
        for finish in after:
            finish()
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the state.

        Raises:
            CheckpointError: its groups, or what weight decay means in them, differ from these.
        """
        refuse_other_groups(state_dict, self.state_dict())
        super().load_state_dict(state_dict)
        _keep_dtypes(self, state_dict)
        for group in self.param_groups:
            group["weight_decay"] = 0.0  # earlier versions left l2 to torch


def _add_to_gradients(learning: Sequence[Tensor], l2: float) -> Callable[[], None]:
    """Add l2 · θ to the gradients, as torch's ``weight_decay`` does; return what puts them back."""
    gradients = [p.grad for p in learning if p.grad is not None]
    added = torch._foreach_add(gradients, list(learning), alpha=l2)  # pyright: ignore[reportPrivateImportUsage]
    for parameter, gradient in zip(learning, added, strict=True):
        parameter.grad = gradient

    def put_back() -> None:
        for parameter, gradient in zip(learning, gradients, strict=True):
            parameter.grad = gradient

    return put_back


def _shrink_where_agreed(learning: Sequence[Tensor], shrink: float) -> Callable[[], None]:
    """Return what subtracts shrink · θ, after a step, where the step did not move θ from zero.

    The update is read off the weights before and after the step, so that any optimiser has one.
    """
    before = [p.detach().clone() for p in learning]

    def finish() -> None:
        for parameter, theta in zip(learning, before, strict=True):
            agree = (theta - parameter).sign() * theta.sign() >= 0
            parameter.sub_(theta * agree, alpha=shrink)

    return finish


def refuse_other_groups(saved_state: dict[str, Any], own_state: dict[str, Any]) -> None:
    """Raise CheckpointError if the groups of two states, or what decay means in them, differ."""
    saved, own = saved_state["param_groups"], own_state["param_groups"]
    differences = [
        f"{key} of group {i}: {theirs.get(key)!r} in the checkpoint, {ours[key]!r} now"
        for i, (theirs, ours) in enumerate(zip(saved, own, strict=False))
        for key in _FIXED_KEYS
        if theirs.get(key) != ours[key]
    ]
    if len(saved) != len(own):
        differences.insert(0, f"{len(saved)} groups in the checkpoint, {len(own)} now")
    if differences:
        raise CheckpointError("the checkpoint's optimiser differs:\n" + "\n".join(differences))


def _keep_dtypes(optimizer: Optimizer, saved: dict[str, Any]) -> None:
    """Give the state the dtypes that it was saved with, where torch has taken the parameter's.

    NAdam has a product in 32 bits beside parameters in 64, with which it would go on otherwise.
    """
    numbers = [number for group in saved["param_groups"] for number in group["params"]]
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for number, parameter in zip(numbers, parameters, strict=True):
        for key, value in saved["state"].get(number, {}).items():
            loaded = optimizer.state[parameter][key]
            if isinstance(value, Tensor) and value.dtype != loaded.dtype:
                optimizer.state[parameter][key] = value.to(loaded.device, copy=True)


class _RMSprop(ExplicitDecay, torch.optim.RMSprop):
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        loss = super().step(closure)
        if self.defaults["momentum"]:
            for state in self.state.values():
                # torch fails later if a schedule has no momentum at the first step
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(state["square_avg"])
        return loss


@cache
def with_explicit_decay(cls: type[Optimizer]) -> type[ExplicitDecay]:
    """Return the class ``cls`` with the mix-in, under the same name."""
    mixin = _RMSprop if cls is torch.optim.RMSprop else ExplicitDecay
    bases = (mixin,) if issubclass(mixin, cls) else (mixin, cls)
    return type(cls.__name__, bases, {"__module__": cls.__module__})


class Several(Optimizer):
    """Several optimisers as one: their groups in a row, one state, one step.

    ``parts`` share its groups and its state, so that whatever reads or changes those (schedules,
    clipping, checkpoints) need not know of them.
    """

    def __init__(self, parts: Sequence[ExplicitDecay]) -> None:
        self.parts = list(parts)
        super().__init__([group for part in parts for group in part.param_groups], {})
        self._share()

    def _share(self) -> None:
        first = 0
        for part in self.parts:
            last = first + len(part.param_groups)
            # A part's own __setstate__ also completes what an older checkpoint lacks.
            groups = self.param_groups[first:last]
            part.__setstate__({"state": self.state, "param_groups": groups})
            first = last

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:
            part.step()
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the state. Raises CheckpointError as ``ExplicitDecay`` does."""
        refuse_other_groups(state_dict, self.state_dict())
        super().load_state_dict(state_dict)
        _keep_dtypes(self, state_dict)
        self._share()


def parts_of(optimizer: Optimizer) -> list[Optimizer]:
    """Return the optimisers that ``optimizer`` is made of, or itself."""
    return list(optimizer.parts) if isinstance(optimizer, Several) else [optimizer]


def averages_weights(optimizer: Optimizer) -> bool:
    """Return whether the weights of training and of evaluation differ, as in schedule-free ones.

    Such an optimiser has ``train()`` and ``eval()``, which change the one into the other.
    """
    return all(callable(getattr(optimizer, name, None)) for name in ("train", "eval"))
