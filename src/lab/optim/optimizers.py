"""Optimisers with named groups and an explicit meaning of weight decay.

torch's SGD and RMSprop know only L2, and its Adam keeps the switch to decoupled decay in the
parameter groups, where loading a checkpoint changes it in silence. Here one mix-in does it for all.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from lab.config.schema import SGD, Adam, Optim, RMSprop, RowwiseAdagrad
from lab.config.sparse import sparse_faults
from lab.errors import CheckpointError, ConfigError
from lab.optim import rowwise
from lab.optim.decay import l2_coefficient, shrink_factor
from lab.optim.groups import clean_name, plan_parameters
from lab.optim.lazy_decay import LazilyDecayedEmbedding, has_sparse_gradients

_FIXED_KEYS = ("name", "decay_mode", "decay_value", "base_lr", "param_names")


class ExplicitDecay(torch.optim.Optimizer):
    """Mix-in before a torch optimiser: shrinks the weights inside ``step``, after the closure.

    Not in a pre-step hook: under Lightning the closure holds forward and backward, so that a hook
    runs before them and the gradient would be taken at weights that are already decayed.
    """

    lazily_decayed: Mapping[Tensor, LazilyDecayedEmbedding] = {}  # by their weight

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
            decayed = [p for p in learning if p not in self.lazily_decayed]
            if decayed:
                torch._foreach_mul_(decayed, 1 - shrink)  # pyright: ignore[reportPrivateImportUsage]
            for parameter in learning:
                if parameter in self.lazily_decayed:
                    self.lazily_decayed[parameter].decay(shrink)
        super().step()
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Raises CheckpointError if the groups or what decay means in them differ."""
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


class _SGD(ExplicitDecay, rowwise.RowwiseSGD): ...


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


class _RowwiseAdagrad(ExplicitDecay, rowwise.RowwiseAdagrad): ...


def build_optimizer(model: nn.Module, optim: Optim) -> torch.optim.Optimizer:
    """An optimiser over every parameter, frozen ones included, so that groups never change.

    Each layer group becomes ``NAME``, or ``NAME/decay`` and ``NAME/no_decay`` where some of its
    roles are spared. Groups hold strings and Python floats: their state loads with weights_only.

    Raises:
        ConfigError: from ``plan_parameters``, or ``optim`` cannot take sparse gradients.
    """
    if has_sparse_gradients(model) and (faults := list(sparse_faults(optim))):
        raise ConfigError("\n".join(faults))
    groups = list(_parameter_groups(model, optim))
    optimizer = _optimizer_of(groups, optim)
    lazy = {m.weight: m for m in model.modules() if isinstance(m, LazilyDecayedEmbedding)}
    optimizer.lazily_decayed = lazy
    for group in groups if lazy else []:
        _refuse_to_decay_at_once(group)
    return optimizer


def _refuse_to_decay_at_once(group: dict[str, Any]) -> None:
    """Raises ConfigError if a step would leave nothing of a weight: its scale would be 0."""
    rate = group["base_lr"]
    share = shrink_factor(group["decay_mode"], group["decay_value"], rate, rate)
    if share >= 1:
        raise ConfigError(
            f"optim.weight_decay.value: a step at the learning rate {rate:g} would take {share:g} "
            f"of each weight; it should be far below 1"
        )


def _optimizer_of(groups: list[dict[str, Any]], optim: Optim) -> ExplicitDecay:
    match optim:
        case SGD(momentum=momentum, nesterov=nesterov):
            return _SGD(groups, lr=optim.lr, momentum=momentum, nesterov=nesterov)
        case RMSprop(alpha=alpha, eps=eps, momentum=momentum):
            return _RMSprop(groups, lr=optim.lr, alpha=alpha, eps=eps, momentum=momentum)
        case Adam(betas=betas, eps=eps, fused=fused):
            # None leaves the choice between a loop and foreach to torch
            return _Adam(groups, lr=optim.lr, betas=betas, eps=eps, fused=fused or None)
        case RowwiseAdagrad(eps=eps):
            return _RowwiseAdagrad(groups, lr=optim.lr, eps=eps)


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
    """One parameter group as it is shown; ``frozen`` counts tensors that do not learn."""

    name: str
    parameters: int
    tensors: int
    lr: float
    weight_decay: float
    mode: str
    frozen: int


def describe_groups(optimizer: torch.optim.Optimizer) -> list[GroupRow]:
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
