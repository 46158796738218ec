"""The parameters of a collaborative filter, and its predictions for any user."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from ablab.data.batches import Tensors
from lesson5.layers import in_range
from lesson5.ratings.collab_filter import CollabFilter


@dataclass(frozen=True)
class CollabParameters:
    """A CollabFilter as one linear model for each user, in float64.

    The rating of item i by user u is ``in_range(users[u] · item_inputs[i] + item_bias[i])``, where
    ``users[u]`` is (p_u, b_u) and ``item_inputs[i]`` is (q_i, 1). Row 0 of each is the unknown user
    or item.

    Attributes:
        users: (n_users, n_factors + 1); the last column is 0 if the model has no biases.
        item_inputs: (n_items, n_factors + 1).
        item_bias: (n_items,); 0 if the model has no biases.
        y_range: ends of the sigmoid in ratings, or None for none.
    """

    users: Tensor
    item_inputs: Tensor
    item_bias: Tensor
    y_range: tuple[float, float] | None

    @classmethod
    def of(cls, model: CollabFilter) -> Self:
        """Return the parameters of a trained model."""
        users, items = (_weight(layer) for layer in (model.u_weight, model.i_weight))
        user_bias, item_bias = users.new_zeros(len(users), 1), items.new_zeros(len(items), 1)
        if model.biases:
            user_bias, item_bias = (_weight(layer) for layer in (model.u_bias, model.i_bias))
        return cls(
            torch.cat([users, user_bias], dim=1),
            torch.cat([items, torch.ones_like(item_bias)], dim=1),
            item_bias.squeeze(1),
            model.y_range,
        )

    @property
    def average_user(self) -> Tensor:
        """The mean of the known users, (n_factors + 1,)."""
        return self.users[1:].mean(dim=0)

    def predict(self, user: Tensor) -> Tensor:
        """user (n_factors + 1,) -> ratings of all items, the unknown one included, (n_items,)."""
        return in_range(self.item_inputs @ user + self.item_bias, self.y_range)


@torch.no_grad()
def training_error(model: CollabFilter, part: Tensors) -> float:
    """Return the mean squared error of ``model`` on a part: users, items, ratings."""
    total = 0.0
    for users, items, ratings in zip(*(column.split(8192) for column in part), strict=True):
        total += float((model(users, items) - ratings).double().square().sum())
    return total / len(part[-1])


def _weight(layer: nn.Embedding) -> Tensor:
    return layer.weight.detach().double()
