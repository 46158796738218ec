"""Data that are drawn: ratings of items by users, and points of several classes."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ablab import TensorDataModule
from ablab.config.schema import Count, Fraction, NotNegative, Seed


class Ratings(TensorDataModule):
    """Batches are ``(user (B,), item (B,), rating (B,))``; ratings are 1 to 5."""

    def __init__(
        self,
        n_users: Count,
        n_items: Count,
        n_ratings: Count,
        test_fraction: Fraction,
        validation_fraction: Fraction,
        data_seed: Seed = 0,
    ) -> None:
        super().__init__()
        self.n_users, self.n_items, self.n_ratings = n_users, n_items, n_ratings
        self.test_fraction, self.validation_fraction = test_fraction, validation_fraction
        self.data_seed = data_seed

    @property
    def sizes(self) -> dict[str, int]:
        return {"n_users": self.n_users, "n_items": self.n_items}

    def setup(self, stage: str) -> None:
        if self.parts:
            return
        random = torch.Generator().manual_seed(self.data_seed)
        users = torch.randint(self.n_users, (self.n_ratings,), generator=random)
        items = torch.randint(self.n_items, (self.n_ratings,), generator=random)
        liked = torch.randn(self.n_users, generator=random)[users]
        good = torch.randn(self.n_items, generator=random)[items]
        noise = 0.5 * torch.randn(self.n_ratings, generator=random)
        ratings = (3 + 0.5 * liked + 0.5 * good + noise).round().clamp(1, 5)
        self.parts = self.random_parts(
            (users, items, ratings), self.test_fraction, self.validation_fraction
        )

    def baselines(self) -> dict[str, dict[str, float]]:
        mean = self.parts["train"][-1].mean()
        errors = self.parts["test"][-1] - mean
        rmse, mae = errors.square().mean().sqrt(), errors.abs().mean()
        return {"mean": {"rmse": float(rmse), "mae": float(mae)}}

    def test_table(self) -> dict[str, Sequence[Any]]:
        users, items, ratings = self.parts["test"]
        return {"user": users.tolist(), "item": items.tolist(), "rating": ratings.tolist()}


class Points(TensorDataModule):
    """Batches are ``(points (B, n_inputs), label (B,))``: a centre for each class, and noise."""

    def __init__(
        self,
        n_rows: Count,
        n_inputs: Count,
        n_classes: Count,
        noise: NotNegative,
        test_fraction: Fraction,
        validation_fraction: Fraction,
        data_seed: Seed = 0,
    ) -> None:
        super().__init__()
        self.n_rows, self.n_inputs, self.n_classes, self.noise = n_rows, n_inputs, n_classes, noise
        self.test_fraction, self.validation_fraction = test_fraction, validation_fraction
        self.data_seed = data_seed

    @property
    def sizes(self) -> dict[str, int]:
        return {"n_inputs": self.n_inputs, "n_classes": self.n_classes}

    def setup(self, stage: str) -> None:
        if self.parts:
            return
        random = torch.Generator().manual_seed(self.data_seed)
        centres = torch.rand(self.n_classes, self.n_inputs, generator=random)
        labels = torch.arange(self.n_rows) % self.n_classes
        noise = self.noise * torch.randn(self.n_rows, self.n_inputs, generator=random)
        points: Tensor = centres[labels] + noise
        self.parts = self.random_parts(
            (points, labels), self.test_fraction, self.validation_fraction
        )
