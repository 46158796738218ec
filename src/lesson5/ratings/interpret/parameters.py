"""Factors and biases of a collaborative filter, alike for one model and for an ensemble."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from ablab.data.batches import Tensors
from lesson5.layers import in_range
from lesson5.ratings.collab_filter import CollabFilter


@dataclass(frozen=True)
class Side:
    """Of users or of items; float64.

    Attributes:
        factors: (..., n_members, n_factors).
        bias: (..., n_members); zeros where the model has none.
    """

    factors: Tensor
    bias: Tensor

    def __getitem__(self, index: int | Tensor) -> "Side":
        return Side(self.factors[index], self.bias[index])

    def mean(self) -> "Side":
        """Of the known ones: row 0 is the unknown one."""
        return Side(self.factors[1:].mean(dim=0), self.bias[1:].mean(dim=0))


@dataclass(frozen=True)
class CollabParameters:
    """``users`` and ``items``, row 0 the unknown one; a CollabFilter has one member."""

    users: Side
    items: Side
    y_range: tuple[float, float] | None

    @classmethod
    def of(cls, model: CollabFilter) -> Self:

        def side(weight: Tensor, bias: Tensor | None) -> Side:
            factors = weight.detach().double().unflatten(1, (1, -1))
            return Side(
                factors, bias.detach().double() if bias is not None else factors[..., 0] * 0
            )

        return cls(
            side(model.u_weight.weight, model.u_bias.weight if model.biases else None),
            side(model.i_weight.weight, model.i_bias.weight if model.biases else None),
            model.y_range,
        )

    def predict(self, user: Side) -> Tensor:
        """Ratings of all items, the unknown one included, by one user (mean of the members);
        ``user`` has factors (n_members, n_factors) and bias (n_members,)."""
        score = (self.items.factors * user.factors).sum(dim=2) + self.items.bias + user.bias
        return in_range(score, self.y_range).mean(dim=1)


@torch.no_grad()
def training_error(model: CollabFilter, part: Tensors) -> float:
    """Mean squared error of ``model`` on the rows (users, items, ratings) of ``part``."""
    total = 0.0
    for users, items, ratings in zip(*(column.split(8192) for column in part), strict=True):
        total += float((model(users, items) - ratings).double().square().sum())
    return total / len(part[-1])
