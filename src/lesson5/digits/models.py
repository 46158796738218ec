"""The lesson's two models of digits: logistic regression, and one hidden layer."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ablab.config.schema import Count, Flag, Fraction
from ablab.training.module import SupervisedModule


class MnistLogistic(SupervisedModule):
    """Multinomial logistic regression: logits = W x + b; the softmax is in the loss."""

    def __init__(self, n_inputs: Count, n_classes: Count) -> None:
        super().__init__()
        self.lin = nn.Linear(n_inputs, n_classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """pixels (B, n_inputs) float32 -> logits (B, n_classes)."""
        return self.lin(pixels)


class MnistNN(SupervisedModule):
    """logits = W₂ relu(W₁ x + b₁) + b₂; the softmax is in the loss.

    Args:
        n_inputs: pixels of an image.
        n_classes: number of classes.
        n_hidden: width of the hidden layer.
        dropout: probability that a hidden activation is zeroed while training.
        batch_norm: normalise W₁ x + b₁ before the ReLU.
    """

    def __init__(
        self,
        n_inputs: Count,
        n_classes: Count,
        n_hidden: Count = 50,
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

    def forward(self, pixels: Tensor) -> Tensor:
        """pixels (B, n_inputs) float32 -> logits (B, n_classes)."""
        hidden = torch.relu(self.bn1(self.lin1(pixels)))  # (B, n_hidden)
        return self.lin2(self.dropout(hidden))
