"""Compare some members alone with the same members stacked, before a stack is trained."""

import copy
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from torch import Tensor, nn

from ablab.ablation.launch.stacked.batches import batches_of
from ablab.ablation.launch.stacked.refusals import NotStackable
from ablab.ablation.launch.stacked.stack import Learner, Stack, by_order, should_share
from ablab.config.schema.optimiser import Optim
from ablab.config.schema.schedule import Schedule
from ablab.errors import first_line
from ablab.optim.decay import weight_penalty
from ablab.optim.optimizers import build_optimizer
from ablab.optim.scheduler import build_scheduler
from ablab.training.randomness import reseed_torch

_STEPS = 2
_TOLERANCE = 1e-12  # of losses and gradients, by the largest number of all gradients of a member
# Adam divides gradients that are nothing but rounding by eps, so what follows may differ by more.
_AFTER_A_STEP = 1e-9
Settings = tuple[Learner, Optim, Schedule]


def refuse_other_results(members: Sequence[Settings], tensors: Sequence[Tensor]) -> None:
    """Raise NotStackable unless two steps of members alone and stacked have the same results.

    The first, the middle and the last member take them, and one with another order of batches than
    the first, if there is one: as copies in double precision, where rounding cannot hide a
    difference. Learners whose order could share its batches are tried so, too, and marked if that
    has the same results.
    """
    learners = [learner for learner, _, _ in members]
    groups = list(by_order(learners).values())
    tensors = [t.double() if t.is_floating_point() else t for t in tensors]
    another = groups[1][0] if len(groups) > 1 else 0
    chosen = sorted({0, another, len(members) // 2, len(members) - 1})
    _compare_steps([members[n] for n in chosen], tensors, shares=False)
    if should_share(learners):
        of_two = [numbers[place] for numbers in groups[:2] for place in (0, -1)]
        with suppress(NotStackable):
            _compare_steps([members[n] for n in of_two], tensors, shares=True)
            for learner in learners:
                learner.shares = True


def _compare_steps(chosen: Sequence[Settings], tensors: Sequence[Tensor], *, shares: bool) -> None:
    with _refused():
        alone = [_double(*member, shares) for member in chosen]
        stacked = [_double(*member, shares) for member in chosen]
        stack = Stack(stacked)
        batches = batches_of(stack.orders, tensors, 0)
        for step, batch in zip(range(1, _STEPS + 1), batches, strict=False):
            tolerance = _TOLERANCE if step == 1 else _AFTER_A_STEP
            losses = stack.backward(batch, 0, step - 1)
            for place, (one, other) in enumerate(zip(alone, stacked, strict=True)):
                reseed_torch(tensors[0].device, one.model.order_seed, 0, step - 1, 0)
                loss = _backward_alone(one, tuple(t[stack.order_of(place)] for t in batch))
                _compare(f"the loss of step {step}", losses[place], loss, tolerance)
                _compare_gradients(one.model, other.model, tolerance)
                one.optimizer.step()
                one.scheduler.step()
            stack.update()
            for one, other in zip(alone, stacked, strict=True):
                theirs = other.model.state_dict()
                for name, tensor in one.model.state_dict().items():
                    _compare(f"{name} after step {step}", theirs[name], tensor, _AFTER_A_STEP)


def _double(learner: Learner, optim: Optim, schedule: Schedule, shares: bool) -> Learner:
    """Return a copy of a learner in double precision, before its first step."""
    model = copy.deepcopy(learner.model).double()
    optimizer = build_optimizer(model, optim)
    scheduler = build_scheduler(optimizer, schedule, learner.scheduler.total_steps)
    return Learner(
        model, optimizer, scheduler, learner.order, learner.clip, learner.by_norm, shares
    )


def _backward_alone(learner: Learner, batch: tuple[Tensor, ...]) -> Tensor:
    model, parameters = learner.model, list(learner.model.parameters())
    for parameter in parameters:
        parameter.grad = None
    loss = model.training_loss(*model.split_batch(batch))
    penalty = weight_penalty(learner.optimizer)
    (loss if penalty is None else loss + penalty).backward()
    if learner.clip is not None and learner.by_norm:
        nn.utils.clip_grad_norm_(parameters, learner.clip)
    elif learner.clip is not None:
        nn.utils.clip_grad_value_(parameters, learner.clip)
    return loss.detach()


def _compare_gradients(one: nn.Module, other: nn.Module, tolerance: float) -> None:
    ours = {name: p.grad for name, p in one.named_parameters() if p.grad is not None}
    theirs = {name: p.grad for name, p in other.named_parameters() if p.grad is not None}
    if ours.keys() != theirs.keys():
        raise NotStackable("stacked, other parameters have gradients than alone")
    largest = max((float(g.abs().max()) for g in ours.values() if g.numel()), default=1.0)
    for name, gradient in ours.items():
        _compare(f"the gradient of {name}", theirs[name], gradient, tolerance, largest)


def _compare(
    what: str, stacked: Tensor, alone: Tensor, tolerance: float, scale: float | None = None
) -> None:
    if not alone.numel() or (stacked.isnan().all() and alone.isnan().all()):
        return
    scale = max(float(alone.abs().max()), 1e-3) if scale is None else scale
    difference = float((stacked.double() - alone.double()).abs().max()) / scale
    if not difference <= tolerance:
        raise NotStackable(f"{what} differs from a run alone by {difference:.1e} of its largest")


@contextmanager
def _refused() -> Iterator[None]:
    """Raise NotStackable for an operation that vmap does not know, or runs in a loop."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*performance drop.*")
            yield
    except (RuntimeError, ValueError, TypeError, NotImplementedError, UserWarning) as error:
        raise NotStackable(f"torch.func.vmap: {first_line(error)}") from error
