"""The updates of the learners of a stack: those of their own optimisers, many at a time.

Parameters with the same settings share a parameter group of a merged optimiser, whose class,
operations and decay are the same as alone. Learners with several optimisers (rules), or a schedule
that follows a metric, keep their own.
"""

import copy
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch.optim import SGD, Adam, Optimizer

from ablab.config.schema.schedule import Schedule
from ablab.optim.decay import l2_coefficient, shrink_factor
from ablab.optim.explicit_decay import Several
from ablab.optim.scheduler import GroupScheduler, PlateauScheduler, build_scheduler


class Updated(Protocol):
    """An object with an optimiser and a schedule of its own."""

    optimizer: Optimizer
    scheduler: GroupScheduler


@dataclass
class _Merged:
    """An optimiser over parameters of several learners, and its schedule."""

    optimizer: Optimizer
    scheduler: GroupScheduler
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)
    adam: "_Adam | None" = None


class Updates:
    """Take the optimiser steps of ``learners``, which are at the same step of equally many."""

    def __init__(self, learners: Sequence[Updated]) -> None:
        self.learners = list(learners)
        self._links: list[list[tuple[_Merged, dict[str, Any], dict[str, Any]]]] = []
        self._apart: list[_Merged] = []  # each of one learner
        by_kind: dict[str, _Merged] = {}
        for learner in self.learners:
            optimizer, scheduler = learner.optimizer, learner.scheduler
            if isinstance(optimizer, Several) or isinstance(scheduler, PlateauScheduler):
                self._apart.append(_Merged(optimizer, scheduler))
                self._links.append([])
                continue
            defaults = {key: value for key, value in optimizer.defaults.items() if key != "lr"}
            kind = (type(optimizer), defaults, scheduler.schedule, scheduler.total_steps)
            kind = repr((*kind, any(_is_cautious(group) for group in optimizer.param_groups)))
            if kind not in by_kind:
                by_kind[kind] = _emptied(optimizer, scheduler)
            merged = by_kind[kind]
            links = []
            for own in optimizer.param_groups:
                settings = {k: v for k, v in own.items() if k not in _OF_ONE}
                shared = merged.groups.setdefault(repr(settings), {**settings, "params": []})
                shared["params"] += own["params"]
                links.append((merged, own, shared))
            merged.optimizer.state.update(optimizer.state)
            self._links.append(links)
        self._merged = list(by_kind.values())
        for merged in self._merged:
            merged.optimizer.param_groups = list(merged.groups.values())
            for group in merged.optimizer.param_groups:
                _choose_fastest(merged.optimizer, group)
            merged.scheduler = _continued(merged)

    @torch.no_grad()
    def add_penalties(self) -> None:
        """Add the gradient of λ Σ θ², of members that have this penalty in their loss."""
        for merged in [*self._merged, *self._apart]:
            for group in merged.optimizer.param_groups:
                if group["decay_mode"] != "l2_loss" or group["decay_value"] == 0.0:
                    continue
                learning = [p for p in group["params"] if p.grad is not None]
                if learning:
                    gradients = [p.grad for p in learning]
                    torch._foreach_add_(gradients, learning, alpha=2 * group["decay_value"])  # pyright: ignore

    def step(self) -> None:
        """Take an optimiser step of each learner."""
        for merged in self._merged:
            if merged.adam is None or not merged.adam.step():
                merged.optimizer.step()
                merged.adam = _adam_of(merged.optimizer)
            merged.scheduler.step()
        for own in self._apart:
            own.optimizer.step()
            own.scheduler.step()

    def settle(self) -> None:
        """Bring the learners' own optimisers and schedulers up to date."""
        for learner, links in zip(self.learners, self._links, strict=True):
            if not links:
                continue
            merged, _, _ = links[0]
            for _, own, shared in links:
                own |= {key: shared[key] for key in ("lr", "betas", "momentum") if key in own}
            state = merged.optimizer.state
            own_parameters = [p for _, own, _ in links for p in own["params"] if p in state]
            learner.optimizer.state = defaultdict(dict, {p: state[p] for p in own_parameters})
            scheduler = learner.scheduler
            scheduler.last_epoch = merged.scheduler.last_epoch
            scheduler._step_count = merged.scheduler._step_count
            scheduler._last_lr = [own["lr"] for _, own, _ in links]


_OF_ONE = ("params", "param_names", "name")  # of a group: what says nothing about its settings


def _is_cautious(group: dict[str, Any]) -> bool:
    return group["decay_mode"] == "cautious" and group["decay_value"] > 0


def _emptied(optimizer: Optimizer, scheduler: GroupScheduler) -> _Merged:
    """Return a copy of an optimiser, without groups and state; the scheduler is only looked at."""
    merged = copy.copy(optimizer)
    merged.param_groups, merged.state = [], defaultdict(dict)
    return _Merged(merged, scheduler)


def _continued(merged: _Merged) -> GroupScheduler:
    """Return a scheduler of the merged optimiser that goes on where that of a learner is."""
    before: GroupScheduler = merged.scheduler
    schedule: Schedule = before.schedule
    scheduler = build_scheduler(merged.optimizer, schedule, before.total_steps)
    scheduler.last_epoch, scheduler._step_count = before.last_epoch, before._step_count
    scheduler._apply()
    return scheduler


def _choose_fastest(optimizer: Optimizer, group: dict[str, Any]) -> None:
    """Have a group updated by the implementation that is fastest for many small tensors.

    Those of torch differ in rounding alone. On a GPU torch's own choice is a fast one.
    """
    if group["params"][0].device.type != "cpu" or "foreach" not in group:
        return
    has_fused = isinstance(optimizer, Adam | SGD)  # AdamW is an Adam
    group |= {"fused": True, "foreach": False} if has_fused else {"foreach": True}


class _Adam:
    """Adam's step without its preparations, which take longer than the arithmetic of small models.

    The decay, too, is left to torch's kernel, in the same pass over the parameters.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self._groups = []
        states = [optimizer.state[p] for group in optimizer.param_groups for p in group["params"]]
        # All counts of steps lie in one tensor, so that one operation counts them.
        self._steps = torch.stack([state["step"] for state in states])
        for state, step in zip(states, self._steps.unbind(0), strict=True):
            state["step"] = step
        for group in optimizer.param_groups:
            own = [optimizer.state[p] for p in group["params"]]
            lists = [[state[key] for state in own] for key in ("exp_avg", "exp_avg_sq", "step")]
            self._groups.append((group, lists))

    @torch.no_grad()
    def step(self) -> bool:
        """Take the step, unless a parameter has no gradient; return whether it was taken."""
        gradients = [[p.grad for p in group["params"]] for group, _ in self._groups]
        if any(gradient is None for of_group in gradients for gradient in of_group):
            return False
        self._steps.add_(1)
        for (group, (first, second, steps)), of_group in zip(self._groups, gradients, strict=True):
            mode, value, rate = group["decay_mode"], group["decay_value"], group["lr"]
            shrink = shrink_factor(mode, value, rate, group["base_lr"])
            # The kernel of AdamW shrinks by the product of rate and decay, that of Adam adds l2.
            kernel = torch._fused_adamw_ if shrink else torch._fused_adam_  # pyright: ignore[reportPrivateImportUsage]
            kernel(
                group["params"],
                of_group,
                first,
                second,
                [],
                steps,
                lr=rate,
                beta1=group["betas"][0],
                beta2=group["betas"][1],
                weight_decay=shrink / rate if shrink else l2_coefficient(mode, value),
                eps=group["eps"],
                amsgrad=False,
                maximize=False,
            )
        return True


def _adam_of(optimizer: Optimizer) -> _Adam | None:
    """Return the quick step of an optimiser that has taken its first, if it has one."""
    groups = optimizer.param_groups
    if not isinstance(optimizer, Adam) or any(map(_is_cautious, groups)):
        return None
    plain = all(group.get("fused") and not group["amsgrad"] for group in groups)
    if not plain or any(group["maximize"] for group in groups):
        return None
    parameters = [p for group in groups for p in group["params"]]
    return _Adam(optimizer) if all(p in optimizer.state for p in parameters) else None
