"""Parts that several models of the lesson share."""

import torch
from torch import Tensor, nn


def embedding(rows: int, columns: int, kind: type[nn.Embedding] = nn.Embedding) -> nn.Embedding:
    """Return an embedding initialised as fastai does; row 0, the unknown one, is zero.

    fastai's "truncated" normal of std 0.01 wraps values beyond two sigma.
    """
    layer = kind(rows, columns)
    with torch.no_grad():
        layer.weight.normal_().fmod_(2).mul_(0.01)
        layer.weight[0].zero_()
    return layer


def in_range(score: Tensor, y_range: tuple[float, float] | None) -> Tensor:
    """Return lo + (hi - lo) · sigmoid(score) for ``y_range = (lo, hi)``, or ``score`` for None."""
    if y_range is None:
        return score
    low, high = y_range
    return torch.sigmoid(score) * (high - low) + low
