"""Losses, and how a model's raw output becomes a prediction under each.

A loss takes the output as the last layer leaves it: ``CrossEntropyLoss`` takes logits and holds the
softmax itself, so a model has none. Metrics and predictions take the output through the activation
that belongs to the loss.
"""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

Activation = Callable[[Tensor], Tensor]


class SquaredLogError(nn.Module):
    """Mean of (z - log(1 + y))²: the output z is a log, the prediction exp(z) - 1.

    Its root at the end of a fit is the RMSLE. For targets y >= 0 over several magnitudes.
    """

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """output (B,), target (B,) -> scalar."""
        return nn.functional.mse_loss(output, torch.log1p(target))

    def activation(self, output: Tensor) -> Tensor:
        """output (B,) -> prediction in the target's units (B,)."""
        return torch.expm1(output)


def activation_of(loss: nn.Module) -> Activation:
    """What turns outputs (B, …) into predictions (B, …): the loss's own ``activation`` if it has
    one; softmax over classes, sigmoid or exp for torch's losses on logits or logs; else nothing.
    """
    own: Activation | None = getattr(loss, "activation", None)
    if own is not None:
        return own
    match loss:
        case nn.CrossEntropyLoss():
            return lambda output: output.softmax(dim=1)
        case nn.BCEWithLogitsLoss():
            return torch.sigmoid
        case nn.NLLLoss() | nn.PoissonNLLLoss(log_input=True):
            return torch.exp
    return lambda output: output


def sum_and_count(loss: nn.Module, value: Tensor, target: Tensor) -> tuple[Tensor, Tensor | int]:
    """Return the sum that ``value``, the loss of a batch, is the mean of, and what it is divided by
    for the mean: rows, or for torch's losses with class weights or an ignored class the weights of
    the rows that count. Over batches, all sums over all counts are the loss of all rows at once.
    """
    value = value.float()  # 16 bits would round the product
    if getattr(loss, "reduction", "mean") == "sum":
        return value, len(target)
    if not isinstance(loss, nn.CrossEntropyLoss | nn.NLLLoss) or target.is_floating_point():
        return value * len(target), len(target)
    counts = target != loss.ignore_index
    weights = counts if loss.weight is None else loss.weight[target.where(counts, 0)] * counts
    count = weights.sum()
    return torch.where(count > 0, value * count, 0), count  # nan if all rows are ignored


def loss_per_row(loss: nn.Module, output: Tensor, target: Tensor) -> Tensor:
    """output (B, …), target (B, …) -> (B,): ``loss`` unreduced, or of each row as a batch of one.

    Class weights multiply a row's loss, as ``reduction="none"`` has it.
    """
    if hasattr(loss, "reduction"):
        unreduced: Any = copy.copy(loss)
        unreduced.reduction = "none"
        return unreduced(output, target).reshape(len(target), -1).mean(dim=1)
    rows = zip(output.split(1), target.split(1), strict=True)
    return torch.stack([loss(*row) for row in rows])
