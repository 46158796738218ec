"""Collaborative filtering by matrix factorisation (Koren, Bell & Volinsky 2009)."""

from torch import Tensor

from ablab.config.schema import Count, Flag, Number
from ablab.optim.groups import BiasEmbedding
from ablab.training.module import SupervisedModule
from lesson5.layers import embedding, in_range


class CollabFilter(SupervisedModule):
    """Rating = lo + (hi - lo) · sigmoid(p_u · q_i + b_u + b_i), with ``y_range = (lo, hi)``.

    The names are those of fastai's ``EmbeddingDotBias``. Index 0 is the unknown user or item. Its
    row is zero and stays so, since no training row has it and every optimiser leaves a zero row
    without gradient at zero. So an unknown user or item gets the bias-only prediction.

    Args:
        n_users: number of users, the unknown one included.
        n_items: number of items, the unknown one included.
        n_factors: length of p_u and q_i.
        y_range: ends of the sigmoid, in ratings; None for a plain sum.
        biases: whether there are b_u and b_i; without them, an unknown one's score is 0.
    """

    def __init__(
        self,
        n_users: Count,
        n_items: Count,
        n_factors: Count = 40,
        y_range: tuple[Number, Number] | None = (0.0, 5.5),
        biases: Flag = True,
    ) -> None:
        super().__init__()
        self.u_weight = embedding(n_users, n_factors)
        self.i_weight = embedding(n_items, n_factors)
        if biases:
            self.u_bias = embedding(n_users, 1, BiasEmbedding)
            self.i_bias = embedding(n_items, 1, BiasEmbedding)
        self.biases = biases
        self.y_range = y_range

    @property
    def output_range(self) -> tuple[float, float] | None:
        return self.y_range

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """users (B,), items (B,), indices -> predicted ratings (B,)."""
        score = (self.u_weight(users) * self.i_weight(items)).sum(dim=1)
        if self.biases:
            score = score + self.u_bias(users).squeeze(1) + self.i_bias(items).squeeze(1)
        return in_range(score, self.y_range)
