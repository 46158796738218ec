"""Metrics that torchmetrics has not."""

import torch
from torch import Tensor
from torchmetrics import MeanSquaredLogError, Metric


class Quotient(Metric):
    """The sum of the numerators over the sum of the denominators; nan stays nan.

    torchmetrics' ``MeanMetric`` ignores the weights when it is told to let nan through.
    """

    full_state_update = False
    numerator: Tensor
    denominator: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("numerator", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("denominator", torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, numerator: Tensor, denominator: Tensor | int) -> None:
        self.numerator += numerator
        self.denominator += denominator

    def compute(self) -> Tensor:
        return self.numerator / self.denominator


class RootMeanSquaredLogError(MeanSquaredLogError):
    """RMSLE: the root of the mean of (log(1 + y) - log(1 + prediction))², both above -1."""

    def compute(self) -> Tensor:
        return super().compute().sqrt()
