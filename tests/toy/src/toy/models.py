"""Small models that take every path of the engine: embeddings, groups, dropout, batch norm."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ablab import SupervisedModule
from ablab.config.schema import Count, Flag, Fraction, Number
from ablab.optim.groups import BiasEmbedding


class Factors(SupervisedModule):
    """Rating = lo + (hi - lo) · sigmoid(p_u · q_i + b_u + b_i)."""

    def __init__(
        self,
        n_users: Count,
        n_items: Count,
        n_factors: Count = 4,
        y_range: tuple[Number, Number] | None = (0.0, 5.5),
    ) -> None:
        super().__init__()
        self.u_weight, self.i_weight = _small(n_users, n_factors), _small(n_items, n_factors)
        self.u_bias = _small(n_users, 1, BiasEmbedding)
        self.i_bias = _small(n_items, 1, BiasEmbedding)
        self.y_range = y_range

    @property
    def output_range(self) -> tuple[float, float] | None:
        return self.y_range

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Users (B,), items (B,), indices -> ratings (B,)."""
        score = (self.u_weight(users) * self.i_weight(items)).sum(dim=1)
        score = score + self.u_bias(users).squeeze(1) + self.i_bias(items).squeeze(1)
        if self.y_range is None:
            return score
        low, high = self.y_range
        return torch.sigmoid(score) * (high - low) + low


def _small(rows: int, columns: int, kind: type[nn.Embedding] = nn.Embedding) -> nn.Embedding:
    layer = kind(rows, columns)
    nn.init.normal_(layer.weight, std=0.01)
    return layer


class Linear(SupervisedModule):
    """Logits = W x + b."""

    def __init__(self, n_inputs: Count, n_classes: Count) -> None:
        super().__init__()
        self.lin = nn.Linear(n_inputs, n_classes)

    def forward(self, points: Tensor) -> Tensor:
        """Points (B, n_inputs) -> logits (B, n_classes)."""
        return self.lin(points)


class Net(SupervisedModule):
    """Logits = W₂ relu(W₁ x + b₁) + b₂, in two layer groups."""

    def __init__(
        self,
        n_inputs: Count,
        n_classes: Count,
        n_hidden: Count = 8,
        dropout: Fraction = 0.0,
        batch_norm: Flag = False,
    ) -> None:
        super().__init__()
        self.lin1 = nn.Linear(n_inputs, n_hidden)
        self.bn1 = nn.BatchNorm1d(n_hidden) if batch_norm else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.lin2 = nn.Linear(n_hidden, n_classes)

    def layer_groups(self) -> Mapping[str, Sequence[nn.Module]]:
        return {"hidden": [self.lin1, self.bn1], "output": [self.lin2]}

    def forward(self, points: Tensor) -> Tensor:
        """Points (B, n_inputs) -> logits (B, n_classes)."""
        return self.lin2(self.dropout(torch.relu(self.bn1(self.lin1(points)))))
