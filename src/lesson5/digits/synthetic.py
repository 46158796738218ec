"""Drawn digits: a random image for each of ten classes, under noise. They need no download."""

import numpy as np

from ablab.config.schema import Count, Fraction, NotNegative, Seed
from ablab.data.splits import Indices, split_rows
from lesson5.digits.mnist import DigitsDataModule
from lesson5.digits.mnist_source import CLASSES, SIDE, Digits, Labels


class SyntheticDigits(DigitsDataModule):
    """Ten random images of 28 x 28 pixels, each copied many times under Gaussian noise.

    Args:
        n_rows: number of digits; every class has an equal share.
        noise: standard deviation of a pixel, whose range is 0 to 255.
        test_fraction: share of all rows.
        validation_fraction: share of the other rows; 0 for none.
        data_seed: draws the images and the noise.
    """

    def __init__(
        self,
        n_rows: Count,
        noise: NotNegative,
        test_fraction: Fraction,
        validation_fraction: Fraction,
        data_seed: Seed = 0,
    ) -> None:
        super().__init__()
        self.n_rows, self.noise = n_rows, noise
        self.test_fraction, self.validation_fraction = test_fraction, validation_fraction
        self.data_seed = data_seed

    def load_digits(self) -> tuple[Digits, str]:
        random = np.random.default_rng(self.data_seed)
        prototypes = random.integers(256, size=(CLASSES, SIDE, SIDE))
        labels = np.arange(self.n_rows) % CLASSES
        noisy = prototypes[labels] + random.normal(0, self.noise, (self.n_rows, SIDE, SIDE))
        images = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
        return (images, labels), f"data_seed {self.data_seed}"

    def split_rows(self, labels: Labels) -> dict[str, Indices]:
        return split_rows(
            self.n_rows,
            test_fraction=self.test_fraction,
            validation_fraction=self.validation_fraction,
            seed=self.split_seed,
        )

    def title(self) -> str:
        return f"{self.n_rows:,} synthetic digits"
