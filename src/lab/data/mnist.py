"""Handwritten digits as flat pixels: full MNIST, and the 5,000 that need only a package index."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from lab.config.schema import Count, Fraction, Seed, Text
from lab.data.mnist_source import CLASSES, SIDE, Digits, Images, Labels, fetch_mnist, fetch_mnist_5k
from lab.data.pictures import PictureDataModule
from lab.data.splits import hold_out, stratified_folds
from lab.errors import DataError

FOLDS = 5

Rows = NDArray[np.int64]


class DigitsDataModule(PictureDataModule):
    """Batches are ``(pixels (B, 784) float32 from 0 to 1, label (B,) int64)``.

    A subclass gives the digits and the test rows; after ``setup``, ``images`` and ``labels`` hold
    all digits as they were read, and ``rows`` the row numbers of each part in them.
    """

    def __init__(
        self,
        *,
        validation_fraction: float,
        batch_size: int,
        eval_batch_size: int,
        split_seed: int,
        order_seed: int,
    ) -> None:
        super().__init__(
            batch_size=batch_size, eval_batch_size=eval_batch_size, order_seed=order_seed
        )
        self.validation_fraction = validation_fraction
        self.split_seed = split_seed

    def load_digits(self) -> tuple[Digits, str]:
        """All digits and where they came from."""
        raise NotImplementedError

    def split_rows(self, labels: Labels) -> tuple[Rows, Rows]:
        """Row numbers for training (validation included) and for the test."""
        raise NotImplementedError

    def title(self) -> str:
        raise NotImplementedError

    def setup(self, stage: str) -> None:
        if self.parts:
            return
        (self.images, self.labels), self.source = self.load_digits()
        train, test = self.split_rows(self.labels)
        self.rows = {"train": train, "test": test}
        if self.validation_fraction > 0:
            train, val = hold_out(train, self.validation_fraction, self.split_seed)
            self.rows = {"train": train, "val": val, "test": test}
        if len(train) == 0 or len(test) == 0:
            raise DataError(f"{self.title()}: the split leaves no training or no test rows")
        for part, rows in self.rows.items():
            self.parts[part] = (
                flat_pixels(self.images[rows]),
                torch.from_numpy(self.labels[rows]),
            )

    @property
    def sizes(self) -> dict[str, int]:
        return {"n_inputs": SIDE * SIDE, "n_classes": CLASSES}

    def summary(self) -> str:
        rows = ", ".join(f"{len(r):,} {part}" for part, r in self.rows.items())
        return f"{self.title()}: {rows} digits (from {self.source})"

    def baselines(self) -> dict[str, dict[str, float]]:
        train, test = self.labels[self.rows["train"]], self.labels[self.rows["test"]]
        most_frequent = np.bincount(train, minlength=CLASSES).argmax()
        return {"most frequent class": {"accuracy": float(np.mean(test == most_frequent))}}

    def test_table(self) -> dict[str, Sequence[Any]]:
        """``row`` counts through ``images``."""
        test = self.rows["test"]
        return {"row": test.tolist(), "label": self.labels[test].tolist()}

    def pictures(self, part: str, rows: Sequence[int]) -> Images:
        return self.images[self.rows[part][rows]]

    def picture_names(self, part: str) -> list[str]:
        return [f"row {row}" for row in self.rows[part]]


class MNIST(DigitsDataModule):
    """MNIST: rows 0 to 59,999 are the official training part, 60,000 to 69,999 the test part.

    Args:
        root: folder of the verified copy, or of local idx files to make it from.
        validation_fraction: share of the training rows, drawn by ``split_seed``; 0 for none.
        split: ``official``, or ``lesson``: as in fast.ai's lesson 5, whose file ``mnist.pkl.gz``
            has the first 50,000 rows for training, and the next 10,000 are tested on.
    """

    def __init__(
        self,
        root: Text,
        validation_fraction: Fraction,
        batch_size: Count,
        eval_batch_size: Count,
        split_seed: Seed,
        order_seed: Seed,
        split: Literal["official", "lesson"] = "official",
    ) -> None:
        super().__init__(
            validation_fraction=validation_fraction,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            split_seed=split_seed,
            order_seed=order_seed,
        )
        self.root = Path(root)
        self.split = split

    def prepare_data(self) -> None:
        if not self.parts:  # else in memory: Lightning asks again, before each fit and test
            fetch_mnist(self.root)

    def load_digits(self) -> tuple[Digits, str]:
        (train, test), source = fetch_mnist(self.root)
        self.n_train = len(train[1])
        images = np.concatenate([train[0], test[0]])
        return (images, np.concatenate([train[1], test[1]])), source

    def split_rows(self, labels: Labels) -> tuple[Rows, Rows]:
        if self.split == "lesson":
            first = self.n_train * 5 // 6
            return np.arange(first), np.arange(first, self.n_train)
        return np.arange(self.n_train), np.arange(self.n_train, len(labels))

    def title(self) -> str:
        return f"MNIST, split {self.split}"


class MNIST5K(DigitsDataModule):
    """5,000 digits of MNIST in five stratified folds: 4,000 for training, 1,000 for the test.

    Its numbers are not comparable with those of full MNIST.

    Args:
        root: folder of the verified copy, or of a local ``mnist_5k.csv.gz`` to make it from.
        fold: which of the folds, drawn by ``split_seed``, is the test part.
        validation_fraction: share of the training rows, drawn by ``split_seed``; 0 for none.
    """

    def __init__(
        self,
        root: Text,
        fold: Literal[1, 2, 3, 4, 5],
        validation_fraction: Fraction,
        batch_size: Count,
        eval_batch_size: Count,
        split_seed: Seed,
        order_seed: Seed,
    ) -> None:
        super().__init__(
            validation_fraction=validation_fraction,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            split_seed=split_seed,
            order_seed=order_seed,
        )
        self.root = Path(root)
        self.fold = fold

    def prepare_data(self) -> None:
        if not self.parts:  # else in memory: Lightning asks again, before each fit and test
            fetch_mnist_5k(self.root)

    def load_digits(self) -> tuple[Digits, str]:
        return fetch_mnist_5k(self.root)

    def split_rows(self, labels: Labels) -> tuple[Rows, Rows]:
        in_test = stratified_folds(labels, FOLDS, self.split_seed) == self.fold
        return np.flatnonzero(~in_test), np.flatnonzero(in_test)

    def title(self) -> str:
        return f"MNIST-5k, fold {self.fold}"


def flat_pixels(images: Images) -> torch.Tensor:
    """images (N, 28, 28) uint8 -> (N, 784) float32 from 0 to 1."""
    return torch.from_numpy(images).flatten(1).to(torch.float32).div_(255)
