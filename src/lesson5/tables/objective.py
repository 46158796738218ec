"""Loss and metric of targets that span several magnitudes."""

import torch
from torch import Tensor, nn
from torchmetrics import MeanSquaredLogError


class SquaredLogError(nn.Module):
    """Mean of (z - log(1 + y))²: the output z is a log, the prediction exp(z) - 1.

    Its root at the end of a fit is the RMSLE. For targets y >= 0 over several magnitudes.
    """

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """output (B,), target (B,) -> scalar."""
        return nn.functional.mse_loss(output, torch.log1p(target))

    def activation(self, output: Tensor) -> Tensor:
        """output (B,) -> prediction in the target's units (B,)."""
        return torch.expm1(output)


class RootMeanSquaredLogError(MeanSquaredLogError):
    """RMSLE: the root of the mean of (log(1 + y) - log(1 + prediction))², both above -1."""

    def compute(self) -> Tensor:
        return super().compute().sqrt()
