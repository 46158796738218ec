"""Several models of one class as one: forward and backward together, each with its own update.

Parameters and buffers of all learners lie one after the other in one tensor, of which those of each
model are views. ``torch.func.vmap`` runs the model over the first dimension. The gradients of
independent losses are those of their sum, so a learner that becomes nan leaves the others alone.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.optim import Optimizer

from ablab.ablation.launch.stacked.dropout import Call, calls_of, draw, layers_of, multiplied
from ablab.ablation.launch.stacked.layers import joined, joined_layers
from ablab.ablation.launch.stacked.updates import Updates
from ablab.data.batches import TensorLoader
from ablab.optim.scheduler import GroupScheduler
from ablab.training.module import SupervisedModule
from ablab.training.randomness import reseed_torch

Batch = tuple[Tensor, ...]  # the tensors of a batch, with a first dimension for the orders


@dataclass
class Learner:
    """A model with its optimiser and schedule, and the order of its batches.

    ``clip`` is the value to which its gradients are clipped, or their norm if ``by_norm``.
    ``shares`` says that members of its order may share a batch, which ``trust`` has tried.
    """

    model: SupervisedModule
    optimizer: Optimizer
    scheduler: GroupScheduler
    order: TensorLoader
    clip: float | None = None
    by_norm: bool = True
    shares: bool = False


class _Loss(nn.Module):
    """The training loss of a model as the ``forward`` of a module."""

    def __init__(self, model: SupervisedModule) -> None:
        super().__init__()
        self.model = model

    def forward(self, *batch: Tensor) -> Tensor:
        return self.model.training_loss(*self.model.split_batch(batch))


_WIDE = 256  # numbers in a row, above which it takes time to give each member its own copy


def should_share(learners: Sequence[Learner]) -> bool:
    """Return whether the members of an order of batches should share a batch, in nested vmaps.

    That needs as many members of each order. For narrow rows two vmaps cost more than they save.
    """
    members = list(by_order(learners).values())
    if len(members) in (1, len(learners)) or len({len(numbers) for numbers in members}) > 1:
        return False
    return sum(t[0].numel() for t in learners[0].order.tensors) >= _WIDE


def by_order(learners: Sequence[Learner]) -> dict[int | None, list[int]]:
    """Return the numbers of the learners that have the same order of batches, by its seed."""
    found: dict[int | None, list[int]] = {}
    for number, learner in enumerate(learners):
        found.setdefault(learner.order.seed, []).append(number)
    return found


class Stack:
    """Train ``learners`` together; they are at the same step of equally many.

    ``orders`` has the loaders whose batches a step takes: one if all learners have the same order
    of batches, one for each order if its members share a batch, else one for each learner.
    """

    def __init__(self, learners: Sequence[Learner]) -> None:
        shared = learners[0].shares and should_share(learners)
        groups = by_order(learners)
        self._nested = len(groups) if shared else 0
        # The learner that lies at each place, those of an order side by side if they share.
        numbers = [n for of_order in groups.values() for n in of_order]
        numbers = numbers if shared else list(range(len(learners)))
        places = sorted(range(len(learners)), key=lambda place: numbers[place])
        self._places = torch.tensor(places)  # of each learner
        self.learners = [learners[number] for number in numbers]
        few = shared or len(groups) == 1
        with_batch = [of_order[0] for of_order in groups.values()] if few else numbers
        self.orders = [learners[number].order for number in with_batch]
        self._loss = _Loss(self.learners[0].model)
        self._joined = joined_layers(self._loss.model)
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
        self._updates = Updates(self.learners)
        self.update, self.settle = self._updates.step, self._updates.settle

    def order_of(self, number: int) -> int:
        """Return the number of the order that learner ``number`` has."""
        if self._nested:
            return int(self._places[number]) * self._nested // len(self.learners)
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
        self._updates.add_penalties()
        self._clip([gradient for gradient in gradients if gradient is not None])
        return losses.detach()[self._places]

    # -- forward ---------------------------------------------------------------------------------

    def _losses(self, batch: Batch, factors: list[Tensor]) -> Tensor:
        def loss(state: dict[str, Tensor], factors: list[Tensor], *batch: Tensor) -> Tensor:
            with multiplied(self._loss.model, factors), joined(self._joined):
                return functional_call(self._loss, state, batch)

        state = {**self.parameters, **self.constants}
        own = vmap(loss, (0, 0, *(0 for _ in batch)), randomness="error")
        of_one_order = vmap(loss, (0, 0, *(None for _ in batch)), randomness="error")
        if self._nested:
            split = (self._nested, -1)
            state = {name: tensor.unflatten(0, split) for name, tensor in state.items()}
            factors = [tensor.unflatten(0, split) for tensor in factors]
            return vmap(of_one_order, randomness="error")(state, factors, *batch).flatten()
        if len(self.orders) > 1:
            return own(state, factors, *batch)
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
