"""Several models of one class as one: forward and backward together, each with its own update.

Parameters and buffers of all learners lie one after the other in one tensor, of which those of each
model are views. ``torch.func.vmap`` runs the model over the first dimension. The gradients of
independent losses are those of their sum, so a learner that becomes nan leaves the others alone.

The updates are those of the learners' own optimisers. Parameters with the same settings share a
parameter group of a merged optimiser, whose class, operations and decay are the same as alone.
"""

import copy
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.optim import SGD, Adam, Optimizer

from ablab.ablation.launch.stacked.dropout import Call, calls_of, draw, layers_of, multiplied
from ablab.config.schema.schedule import Schedule
from ablab.data.batches import RowLoader
from ablab.optim.scheduler import GroupScheduler, build_scheduler
from ablab.training.module import SupervisedModule
from ablab.training.randomness import reseed_torch

Batch = tuple[Tensor, ...]  # the tensors of a batch, with a first dimension for the orders


@dataclass
class Learner:
    """A model with its optimiser and schedule, and the order of its batches.

    ``clip`` is the value to which its gradients are clipped, or their norm if ``by_norm``.
    """

    model: SupervisedModule
    optimizer: Optimizer
    scheduler: GroupScheduler
    order: RowLoader
    clip: float | None = None
    by_norm: bool = True


class _Loss(nn.Module):
    """The training loss of a model as the ``forward`` of a module."""

    def __init__(self, model: SupervisedModule) -> None:
        super().__init__()
        self.model = model

    def forward(self, *batch: Tensor) -> Tensor:
        return self.model.training_loss(*self.model.split_batch(batch))


@dataclass
class _Merged:
    """An optimiser over parameters of several learners, and its schedule."""

    optimizer: Optimizer
    scheduler: GroupScheduler
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)


class Stack:
    """Train ``learners`` together; they are at the same step of equally many.

    ``orders`` has the loaders whose batches a step takes: one if all learners have the same order
    of batches, else one for each learner. Nested vmaps, the inner one over learners of an order,
    would gather less, but mse_loss fails in them (torch 2.14): it joins the rows of all learners.
    """

    def __init__(self, learners: Sequence[Learner]) -> None:
        self.learners = list(learners)
        orders = [learner.order for learner in learners]
        self.orders = orders[:1] if len({order.seed for order in orders}) == 1 else orders
        self._loss = _Loss(self.learners[0].model)
        models = [learner.model for learner in self.learners]
        named = [dict(model.named_parameters()) for model in models]
        self.cells = {
            name: [parameters[name] for parameters in named]
            for name, parameter in named[0].items()
            if parameter.requires_grad
        }
        self.parameters = {
            f"model.{name}": _stack(cells).requires_grad_() for name, cells in self.cells.items()
        }
        self.constants = {
            f"model.{name}": _stack([dict(_rest(model))[name] for model in models])
            for name, _ in _rest(models[0])
        }
        self._layers = [layers_of(model) for model in models]
        self._calls: list[Call] | None = None
        self._merged: list[_Merged] = []
        self._links: list[list[tuple[_Merged, dict[str, Any], dict[str, Any]]]] = []
        self._merge()

    def order_of(self, number: int) -> int:
        """Return the number of the order that learner ``number`` has."""
        return number if len(self.orders) > 1 else 0

    def backward(self, batch: Batch, epoch: int, number: int) -> Tensor:
        """Return the loss of each learner, and give its gradients to its parameters.

        ``number`` of the batch in its epoch: what dropout draws depends on both.
        """
        losses = self._losses(batch, self._factors(batch, epoch, number))
        gradients = torch.autograd.grad(
            losses.sum(), list(self.parameters.values()), allow_unused=True
        )
        # torch's fused optimisers take gradients to lie in memory as their parameters do.
        gradients = [g if g is None else g.contiguous() for g in gradients]
        for cells, gradient in zip(self.cells.values(), gradients, strict=True):
            parts = [None] * len(cells) if gradient is None else gradient.unbind(0)
            for parameter, part in zip(cells, parts, strict=True):
                parameter.grad = part
        self._add_penalties()
        self._clip([gradient for gradient in gradients if gradient is not None])
        return losses.detach()

    def update(self) -> None:
        """Take an optimiser step of each learner."""
        for merged in self._merged:
            merged.optimizer.step()
            merged.scheduler.step()

    def settle(self) -> None:
        """Bring the learners' own optimisers and schedulers up to date."""
        for learner, links in zip(self.learners, self._links, strict=True):
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

    # -- forward ---------------------------------------------------------------------------------

    def _losses(self, batch: Batch, factors: list[Tensor]) -> Tensor:
        def loss(state: dict[str, Tensor], factors: list[Tensor], *batch: Tensor) -> Tensor:
            with multiplied(self._loss.model, factors):
                return functional_call(self._loss, state, batch)

        state = {**self.parameters, **self.constants}
        if len(self.orders) > 1:
            own = (0, 0, *(0 for _ in batch))
            return vmap(loss, own, randomness="error")(state, factors, *batch)
        shared = (0, 0, *(None for _ in batch))
        of_one_order = vmap(loss, shared, randomness="error")
        return of_one_order(state, factors, *(tensor[0] for tensor in batch))

    def _factors(self, batch: Batch, epoch: int, number: int) -> list[Tensor]:
        """Return the factors of dropout of all learners, (learners, rows, …) for each call."""
        if not self._layers[0]:
            return []
        if self._calls is None:
            first = tuple(tensor[0] for tensor in batch)
            self._calls = calls_of(self._loss.model, first)
        # A layer draws numbers of the type that its input has: that of the parameters.
        like = next(iter(self.parameters.values())).detach().new_empty(batch[0].shape[1])
        of_learners = []
        for learner, layers in zip(self.learners, self._layers, strict=True):
            reseed_torch(like.device, learner.model.order_seed, epoch, number, 0)
            of_learners.append(draw(layers, self._calls, like))
        return [torch.stack(of_call) for of_call in zip(*of_learners, strict=True)]

    # -- gradients -------------------------------------------------------------------------------

    @torch.no_grad()
    def _add_penalties(self) -> None:
        """Add the gradient of λ Σ θ², of members that have this penalty in their loss."""
        for merged in self._merged:
            for group in merged.optimizer.param_groups:
                if group["decay_mode"] != "l2_loss" or group["decay_value"] == 0.0:
                    continue
                learning = [p for p in group["params"] if p.grad is not None]
                if learning:
                    gradients = [p.grad for p in learning]
                    torch._foreach_add_(gradients, learning, alpha=2 * group["decay_value"])  # pyright: ignore

    @torch.no_grad()
    def _clip(self, gradients: list[Tensor]) -> None:
        """Clip the gradients of each learner by its own value."""
        clips = [math.inf if learner.clip is None else learner.clip for learner in self.learners]
        if all(math.isinf(clip) for clip in clips) or not gradients:
            return
        most = gradients[0].new_tensor(clips)
        if not self.learners[0].by_norm:
            for gradient in gradients:
                bound = _over(most, gradient)
                gradient.copy_(gradient.clamp(-bound, bound))
            return
        norms = torch.stack([g.flatten(1).norm(dim=1) for g in gradients]).norm(dim=0)
        factors = torch.where(most.isinf(), 1.0, (most / (norms + 1e-6)).clamp(max=1.0))
        for gradient in gradients:
            gradient.mul_(_over(factors, gradient))

    # -- updates ---------------------------------------------------------------------------------

    def _merge(self) -> None:
        by_kind: dict[str, _Merged] = {}
        for learner in self.learners:
            optimizer, scheduler = learner.optimizer, learner.scheduler
            defaults = {key: value for key, value in optimizer.defaults.items() if key != "lr"}
            kind = repr((type(optimizer), defaults, scheduler.schedule, scheduler.total_steps))
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


_OF_ONE = ("params", "param_names", "name")  # of a group: what says nothing about its settings


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


def _stack(tensors: Sequence[Tensor]) -> Tensor:
    """Return the tensors in one, of which they become views."""
    whole = torch.stack([tensor.data for tensor in tensors])
    for tensor, view in zip(tensors, whole.unbind(0), strict=True):
        tensor.data = view
    return whole


def _rest(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a model that no gradient changes; those of its metrics are left out."""
    yield from ((name, p) for name, p in model.named_parameters() if not p.requires_grad)
    for name, buffer in model.named_buffers():
        if not name.startswith("evaluation_"):
            yield name, buffer


def _over(values: Tensor, gradient: Tensor) -> Tensor:
    return values.view(-1, *(1 for _ in gradient.shape[1:]))
