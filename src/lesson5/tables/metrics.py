"""Metrics that torchmetrics has not."""

from torch import Tensor
from torchmetrics import MeanSquaredLogError


class RootMeanSquaredLogError(MeanSquaredLogError):
    """RMSLE: the root of the mean of (log(1 + y) - log(1 + prediction))², both above -1."""

    def compute(self) -> Tensor:
        return super().compute().sqrt()
