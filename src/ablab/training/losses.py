"""Losses, and the activation that turns a model's raw output into predictions.

A loss takes the raw output: ``CrossEntropyLoss`` takes logits and contains the softmax, so a model
has none. Metrics and predictions use the output after the activation that belongs to the loss.
"""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

Activation = Callable[[Tensor], Tensor]


def activation_of(loss: nn.Module) -> Activation:
    """Return the function from outputs (B, …) to predictions (B, …).

    It is the loss's own ``activation`` if it has one; for torch's losses on logits or logs the
    softmax over classes, the sigmoid or exp; otherwise the identity.
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
    """Return the sum and the count of which ``value``, the loss of a batch, is the mean.

    The count is the number of rows; for torch's losses with class weights or an ignored class it is
    the weight of the rows that count. The sums of all batches over their counts are the loss of all
    rows at once.
    """
    value = value.float()  # in 16 bits the product would be rounded
    if getattr(loss, "reduction", "mean") == "sum":
        return value, len(target)
    if not isinstance(loss, nn.CrossEntropyLoss | nn.NLLLoss) or target.is_floating_point():
        return value * len(target), len(target)
    counts = target != loss.ignore_index
    weights = counts if loss.weight is None else loss.weight[target.where(counts, 0)] * counts
    count = weights.sum()
    return torch.where(count > 0, value * count, 0), count  # nan if all rows are ignored


def loss_per_row(loss: nn.Module, output: Tensor, target: Tensor) -> Tensor:
    """Output (B, …), target (B, …) -> losses (B,), unreduced or of each row as a batch of one.

    Class weights multiply a row's loss, as with ``reduction="none"``.
    """
    if hasattr(loss, "reduction"):
        unreduced: Any = copy.copy(loss)
        unreduced.reduction = "none"
        return unreduced(output, target).reshape(len(target), -1).mean(dim=1)
    rows = zip(output.split(1), target.split(1), strict=True)
    return torch.stack([loss(*row) for row in rows])
