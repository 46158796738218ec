"""Layers that several models share."""

import torch
from torch import Tensor, nn


def embedding(rows: int, columns: int, kind: type[nn.Embedding] = nn.Embedding) -> nn.Embedding:
    """Rows of fastai's "truncated" normal of std 0.01, which wraps at two sigma; row 0 is zero."""
    layer = kind(rows, columns)
    with torch.no_grad():
        layer.weight.normal_().fmod_(2).mul_(0.01)
        layer.weight[0].zero_()
    return layer


def in_range(score: Tensor, y_range: tuple[float, float] | None) -> Tensor:
    """lo + (hi - lo) · sigmoid(score), with ``y_range = (lo, hi)``; None leaves it as it is."""
    if y_range is None:
        return score
    low, high = y_range
    return torch.sigmoid(score) * (high - low) + low
