"""Loss and metric for targets that span several magnitudes."""

import torch
from torch import Tensor, nn
from torchmetrics import MeanSquaredLogError


class SquaredLogError(nn.Module):
    """The mean of (z - log(1 + y))²: the output z is a log, and the prediction is exp(z) - 1.

    It is for targets y >= 0; its root is the RMSLE.
    """

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """output (B,), target (B,) -> scalar."""
        return nn.functional.mse_loss(output, torch.log1p(target))

    def activation(self, output: Tensor) -> Tensor:
        """output (B,) -> prediction in the target's units (B,)."""
        return torch.expm1(output)


class RootMeanSquaredLogError(MeanSquaredLogError):
    """The root of the mean of (log(1 + y) - log(1 + prediction))²; both must be above -1."""

    def compute(self) -> Tensor:
        return super().compute().sqrt()
