"""Collaborative filtering by matrix factorisation (Koren, Bell & Volinsky 2009)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ablab.config.schema import Count, Flag, Number
from ablab.optim.groups import BiasEmbedding
from ablab.optim.sparse.lazy_decay import LazilyDecayedEmbedding
from ablab.training.module import SupervisedModule
from lesson5.layers import embedding, in_range


class CollabFilter(SupervisedModule):
    """Rating = lo + (hi - lo) · sigmoid(p_u · q_i + b_u + b_i), with ``y_range = (lo, hi)``.

    The names are those of fastai's ``EmbeddingDotBias``. Index 0 of users and of items is the
    unknown one: its row is zero, no training row meets it and every optimiser leaves a zero row
    without gradient at zero, so a prediction for it is the answer of the biases alone.

    Args:
        n_users: number of users, the unknown one included.
        n_items: number of items, the unknown one included.
        n_factors: length of p_u and q_i.
        y_range: ends of the sigmoid, in ratings; None for a plain sum.
        biases: whether there are b_u and b_i; without them an unknown row's score is 0.
        sparse: whether a step touches only the rows of its batch, which pays where the tables are
            far larger than a batch; for ``optim=rowwise_adagrad`` and plain ``sgd``.
    """

    def __init__(
        self,
        n_users: Count,
        n_items: Count,
        n_factors: Count = 40,
        y_range: tuple[Number, Number] | None = (0.0, 5.5),
        biases: Flag = True,
        sparse: Flag = False,
    ) -> None:
        super().__init__()
        factors, bias = (LazilyDecayedEmbedding,) * 2 if sparse else (nn.Embedding, BiasEmbedding)
        self.u_weight = embedding(n_users, n_factors, factors)
        self.i_weight = embedding(n_items, n_factors, factors)
        if biases:
            self.u_bias = embedding(n_users, 1, bias)
            self.i_bias = embedding(n_items, 1, bias)
        self.biases = biases
        self.y_range = y_range

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """users (B,), items (B,), indices -> predicted ratings (B,)."""
        score = (self.u_weight(users) * self.i_weight(items)).sum(dim=1)
        if self.biases:
            score = score + self.u_bias(users).squeeze(1) + self.i_bias(items).squeeze(1)
        return in_range(score, self.y_range)


class CollabEnsemble(SupervisedModule):
    """``n_members`` CollabFilters side by side, of which the prediction is the mean.

    Each member has its own initial values and minimises its own loss, so its parameters move as if
    it were alone; members share the order of the batches.

    Args:
        n_members: number of members.
        n_users, n_items, n_factors, y_range: of each, as in ``CollabFilter``.
    """

    def __init__(
        self,
        n_users: Count,
        n_items: Count,
        n_factors: Count = 40,
        y_range: tuple[Number, Number] | None = (0.0, 5.5),
        n_members: Count = 8,
    ) -> None:
        super().__init__()
        self.u_weight = embedding(n_users, n_members * n_factors)
        self.i_weight = embedding(n_items, n_members * n_factors)
        self.u_bias = embedding(n_users, n_members, BiasEmbedding)
        self.i_bias = embedding(n_items, n_members, BiasEmbedding)
        self.y_range = y_range
        self.n_members = n_members

    def member_predictions(self, users: Tensor, items: Tensor) -> Tensor:
        """users (B,), items (B,), both int64 -> predicted ratings (B, n_members)."""
        product = self.u_weight(users) * self.i_weight(items)
        dot = product.unflatten(1, (self.n_members, -1)).sum(dim=2)
        return in_range(dot + self.u_bias(users) + self.i_bias(items), self.y_range)

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """users (B,), items (B,), both int64 -> mean of the members' predicted ratings (B,)."""
        return self.member_predictions(users, items).mean(dim=1)

    def training_loss(self, inputs: Sequence[Tensor], target: Tensor) -> Tensor:
        """The sum of the members' losses: the gradient of each is that of its own loss."""
        predictions = self.member_predictions(*inputs)
        losses = [self.loss_function(p, target) for p in predictions.unbind(dim=1)]
        return torch.stack(losses).sum()
