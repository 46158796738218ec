"""Errors for losses, gradients and parameters that are not finite.

``error_if_nonfinite: loss`` checks the losses when they are reported and the parameters before they
are saved. ``gradients`` also checks the gradients before each step, for which the process has to
wait for a GPU. ``none`` checks nothing.
"""

import math
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from ablab.errors import TrainingError
from ablab.training.ranks import gather

_REMEDY = (
    "a lower optim.lr or trainer.gradient_clip_val may help, or the data hold values that the loss "
    "cannot take"
)
_SHOWN = 5  # parameters named in a message
Named = Sequence[tuple[str, Tensor]]  # parameters, with what a message calls each


class NonFiniteLossError(Exception):
    """The loss of optimiser step ``step``, counted from 1, is ``value``."""

    def __init__(self, step: int, value: float) -> None:
        super().__init__(step, value)
        self.step, self.value = step, value


def named_in_groups(optimizer: Optimizer) -> Named:
    """Return the parameters of an optimiser whose groups have names: ``lin1.weight of group …``."""
    return [
        (f"{name} of group {group['name']}", parameter)
        for group in optimizer.param_groups
        for name, parameter in zip(group["param_names"], group["params"], strict=True)
    ]


def describe_loss(error: NonFiniteLossError, named: Named, now: int) -> TrainingError:
    """Return an error that names the loss and what it has made non-finite by step ``now``."""
    lines = [f"the training loss is {error.value} at step {error.step}; {_REMEDY}"]
    parameters = list(_nonfinite(named, gradients=False))
    gradients = list(_nonfinite(named, gradients=True))
    for kind, found in (("parameters", parameters), ("gradients", gradients)):
        if found:
            lines.append(f"{kind} that are not finite at step {now}: {_listed(found)}")
    lines.append("error_if_nonfinite=gradients finds the first, and stops before its step")
    return TrainingError("\n".join(lines))


def refuse_nonfinite_gradients(named: Named, step: int, loss: Tensor) -> None:
    """Raise TrainingError, on all ranks, if taking ``step`` would make a parameter non-finite."""
    gradients = [_values(p.grad) for _, p in named if p.grad is not None]
    gradients = [values for values in gradients if values.numel()]
    norm = float(torch.nn.utils.get_total_norm(gradients, math.inf))
    norms, losses = zip(*gather([norm, float(loss)]), strict=True)
    if not all(map(math.isfinite, norms)):
        loss_told = next((x for x in losses if not math.isfinite(x)), sum(losses) / len(losses))
        raise TrainingError(
            f"step {step} has gradients that are not finite: "
            f"{_listed(list(_nonfinite(named, gradients=True)))}; "
            f"its loss is {loss_told:g}\nthe step was not taken; {_REMEDY}"
        )


def refuse_nonfinite_state(
    module: nn.Module, named: Named, optimizers: Iterable[Optimizer], step: int
) -> None:
    """Raise TrainingError, on all ranks, if a checkpoint would hold a number that is not finite.

    Checked are parameters and the optimiser's state, and buffers for nan (a mask may be infinite).
    """
    states = [state for optimizer in optimizers for state in optimizer.state.values()]
    kept = [t for state in states for t in state.values() if _is_real(t)]
    nan = [n for n, b in module.named_buffers() if _is_real(b) and bool(b.isnan().any())]
    told = None
    if found := list(_nonfinite(named, gradients=False)):
        told = f"parameters: {_listed(found)}"
    elif not all(map(_is_finite, kept)):
        told = "the optimiser's state"
    elif nan:
        told = f"buffers: {', '.join(nan[:_SHOWN])}"
    if any(bad for (bad,) in gather([float(told is not None)])):
        told = told or "the state of another process"
        raise TrainingError(f"after step {step} there are numbers that are not finite in {told}")


def _nonfinite(named: Named, *, gradients: bool) -> Iterator[tuple[str, Tensor]]:
    """Yield name and values of each parameter, or gradient, that is not finite."""
    for name, parameter in named:
        tensor = parameter.grad if gradients else parameter.detach()
        if tensor is not None and not _is_finite(values := _values(tensor)):
            yield name, values


def _listed(found: list[tuple[str, Tensor]]) -> str:
    """Return ``lin1.weight of group hidden (nan, in 3 of 40), …``."""
    shown = []
    for name, values in found[:_SHOWN]:
        bad = values[~values.isfinite()]
        shown.append(f"{name} ({bad[0].item()}, in {len(bad):,} of {values.numel():,})")
    more = len(found) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _values(tensor: Tensor) -> Tensor:
    """Return the values that are on this rank."""
    if isinstance(tensor, DTensor):
        return tensor.to_local()
    return tensor


def _is_real(value: object) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _is_finite(tensor: Tensor) -> bool:
    return bool(_values(tensor).isfinite().all())
