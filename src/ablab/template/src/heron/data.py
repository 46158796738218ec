"""The data: points on two spirals, drawn from the seed of the split."""

import math

import torch

from ablab import TensorDataModule


class Spirals(TensorDataModule):
    """Batches are ``(points (B, 2) float32, labels (B,) int64)``."""

    def __init__(self, n_rows: int, noise: float, validation_fraction: float) -> None:
        super().__init__()
        self.n_rows = n_rows
        self.noise = noise
        self.validation_fraction = validation_fraction

    @property
    def sizes(self) -> dict[str, int]:
        """The arguments of the model's constructor that the data give."""
        return {"n_inputs": 2, "n_classes": 2}

    def setup(self, stage: str) -> None:
        if self.parts:
            return
        random = torch.Generator().manual_seed(self.split_seed)
        labels = torch.arange(self.n_rows) % 2
        radius = torch.rand(self.n_rows, generator=random).sqrt()
        angle = 3 * math.pi * radius + math.pi * labels
        points = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1) * 3
        points += self.noise * torch.randn(points.shape, generator=random)
        self.parts = self.random_parts((points, labels), 0.2, self.validation_fraction)
