"""Seeded digits: prototypes of ten classes under noise."""

import numpy as np

from ablab.config.schema import Count, Fraction, NotNegative, Seed
from ablab.data.splits import hold_out
from lesson5.digits.mnist import DigitsDataModule, Rows
from lesson5.digits.mnist_source import CLASSES, SIDE, Digits, Labels


class SyntheticDigits(DigitsDataModule):
    """Ten random images of 28 x 28 pixels, each copied many times under Gaussian noise.

    Args:
        n_rows: the size; every class has an equal share.
        noise: standard deviation, in steps of the 0 to 255 that a pixel has.
        test_fraction: share of all rows; validation_fraction: share of the rest, 0 for none.
        data_seed: of the images themselves.
    """

    def __init__(
        self,
        n_rows: Count,
        noise: NotNegative,
        test_fraction: Fraction,
        validation_fraction: Fraction,
        data_seed: Seed = 0,
    ) -> None:
        super().__init__(
            validation_fraction=validation_fraction,
        )
        self.n_rows, self.noise = n_rows, noise
        self.test_fraction = test_fraction
        self.data_seed = data_seed

    def load_digits(self) -> tuple[Digits, str]:
        random = np.random.default_rng(self.data_seed)
        prototypes = random.integers(256, size=(CLASSES, SIDE, SIDE))
        labels = np.arange(self.n_rows) % CLASSES
        noisy = prototypes[labels] + random.normal(0, self.noise, (self.n_rows, SIDE, SIDE))
        images = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
        return (images, labels), f"data_seed {self.data_seed}"

    def split_rows(self, labels: Labels) -> tuple[Rows, Rows]:
        return hold_out(np.arange(self.n_rows), self.test_fraction, self.split_seed)

    def title(self) -> str:
        return f"{self.n_rows:,} synthetic digits"
