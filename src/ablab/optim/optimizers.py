"""Optimisers with named groups and an explicit meaning of weight decay.

In torch, SGD and RMSprop offer L2 decay only, and Adam keeps its switch to decoupled decay in the
parameter groups, where loading a checkpoint changes it silently. Here one mix-in handles all modes
for all optimisers.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import nn

from ablab.config.schema import SGD, Adam, Optim, RMSprop
from ablab.errors import CheckpointError
from ablab.optim.decay import l2_coefficient, shrink_factor
from ablab.optim.groups import clean_name, plan_parameters

_FIXED_KEYS = ("name", "decay_mode", "decay_value", "base_lr", "param_names")


class ExplicitDecay(torch.optim.Optimizer):
    """A mix-in for torch optimisers that shrinks the weights inside ``step``, after the closure.

    A pre-step hook would be too early: under Lightning the closure runs forward and backward, so
    the gradient would be taken at weights that have decayed already.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            shrink = shrink_factor(
                group["decay_mode"], group["decay_value"], group["lr"], group["base_lr"]
            )
            learning = [p for p in group["params"] if p.grad is not None] if shrink else []
            if learning:
                torch._foreach_mul_(learning, 1 - shrink)  # pyright: ignore[reportPrivateImportUsage]
        super().step()
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the state.

        Raises:
            CheckpointError: its groups, or what weight decay means in them, differ from these.
        """
        saved, own = state_dict["param_groups"], self.state_dict()["param_groups"]
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
        super().load_state_dict(state_dict)


class _SGD(ExplicitDecay, torch.optim.SGD): ...


class _RMSprop(ExplicitDecay, torch.optim.RMSprop):
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        loss = super().step(closure)
        if self.defaults["momentum"]:
            for state in self.state.values():
                # torch fails later if a schedule has no momentum at the first step
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(state["square_avg"])
        return loss


class _Adam(ExplicitDecay, torch.optim.Adam): ...


def build_optimizer(model: nn.Module, optim: Optim) -> torch.optim.Optimizer:
    """Return an optimiser over every parameter, frozen ones included, so that groups never change.

    Each layer group becomes the parameter group ``NAME``, or ``NAME/decay`` and ``NAME/no_decay``
    if some of its roles do not decay. Groups hold strings and Python floats only, so that their
    state loads with ``weights_only=True``.

    Raises:
        ConfigError: from ``plan_parameters``.
    """
    return _optimizer_of(list(_parameter_groups(model, optim)), optim)


def _optimizer_of(groups: list[dict[str, Any]], optim: Optim) -> ExplicitDecay:
    match optim:
        case SGD(momentum=momentum, nesterov=nesterov):
            return _SGD(groups, lr=optim.lr, momentum=momentum, nesterov=nesterov)
        case RMSprop(alpha=alpha, eps=eps, momentum=momentum):
            return _RMSprop(groups, lr=optim.lr, alpha=alpha, eps=eps, momentum=momentum)
        case Adam(betas=betas, eps=eps, fused=fused):
            # With None torch chooses between its loop and its foreach implementation.
            return _Adam(groups, lr=optim.lr, betas=betas, eps=eps, fused=fused or None)


def _parameter_groups(model: nn.Module, optim: Optim) -> Iterable[dict[str, Any]]:
    parameters = {clean_name(name): p for name, p in model.named_parameters()}
    mode = optim.weight_decay.mode
    result = []
    for group, members in groupby(plan_parameters(model, optim), key=lambda plan: plan.group):
        plans = list(members)
        decayed = [p for p in plans if p.weight_decay > 0]
        spared = [p for p in plans if p.weight_decay == 0]
        both = bool(decayed) and bool(spared)
        for part, suffix in ((decayed, "/decay"), (spared, "/no_decay")):
            if not part:
                continue
            value = part[0].weight_decay
            result.append(
                {
                    "name": f"{group}{suffix}" if both else group,
                    "params": [(p.name, parameters[p.name]) for p in part],
                    "lr": part[0].lr,
                    "base_lr": part[0].lr,
                    "weight_decay": l2_coefficient(mode, value),
                    "decay_mode": mode,
                    "decay_value": value,
                }
            )
    return result


@dataclass(frozen=True)
class GroupRow:
    """A parameter group as it is printed; ``frozen`` counts the tensors that do not learn."""

    name: str
    parameters: int
    tensors: int
    lr: float
    weight_decay: float
    mode: str
    frozen: int


def describe_groups(optimizer: torch.optim.Optimizer) -> list[GroupRow]:
    """Return a row for each parameter group, in the optimiser's order."""
    return [
        GroupRow(
            group["name"],
            sum(p.numel() for p in group["params"]),
            len(group["params"]),
            group["base_lr"],
            group["decay_value"],
            group["decay_mode"],
            sum(not p.requires_grad for p in group["params"]),
        )
        for group in optimizer.param_groups
    ]
