"""Handwritten digits as flat pixels: all of MNIST, and 5,000 that only need a package index."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from ablab.config.schema import Fraction, Text
from ablab.data.images.pictures import PictureDataModule
from ablab.data.splits import Indices, stratified_folds, with_validation
from ablab.errors import DataError
from lesson5.digits.mnist_source import (
    CLASSES,
    MNIST_5K,
    MNIST_70K,
    SIDE,
    Digits,
    Images,
    Labels,
    load_mnist,
    load_mnist_5k,
)

FOLDS = 5


class DigitsDataModule(PictureDataModule):
    """Batches are ``(pixels (B, 784) float32 from 0 to 1, label (B,) int64)``.

    A subclass gives the digits and the split. After ``setup``, ``images`` and ``digit_labels``
    hold all digits as they were read, and ``rows`` the row numbers of each part in them.
    """

    def load_digits(self) -> tuple[Digits, str]:
        """Return all digits and where they came from."""
        raise NotImplementedError

    def split_rows(self, labels: Labels) -> dict[str, Indices]:
        """Return the row numbers of "train", "test", and "val" where there is one."""
        raise NotImplementedError

    def title(self) -> str:
        """Return the name of the data in the summary."""
        raise NotImplementedError

    def setup(self, stage: str) -> None:
        """Fill ``parts``. Raises DataError if the split leaves no training or no test rows."""
        if self.parts:
            return
        (self.images, self.digit_labels), self.source = self.load_digits()
        self.rows = self.split_rows(self.digit_labels)
        if len(self.rows["train"]) == 0 or len(self.rows["test"]) == 0:
            raise DataError(f"{self.title()}: the split leaves no training or no test rows")
        for part, rows in self.rows.items():
            self.parts[part] = (
                flat_pixels(self.images[rows]),
                torch.from_numpy(self.digit_labels[rows]),
            )

    @property
    def sizes(self) -> dict[str, int]:
        return {"n_inputs": SIDE * SIDE, "n_classes": CLASSES}

    def summary(self) -> str:
        rows = ", ".join(f"{len(r):,} {part}" for part, r in self.rows.items())
        return f"{self.title()}: {rows} digits (from {self.source})"

    def baselines(self) -> dict[str, dict[str, float]]:
        train, test = self.digit_labels[self.rows["train"]], self.digit_labels[self.rows["test"]]
        most_frequent = np.bincount(train, minlength=CLASSES).argmax()
        return {"most frequent class": {"accuracy": float(np.mean(test == most_frequent))}}

    def test_table(self) -> dict[str, Sequence[Any]]:
        """Return the number of each test row in ``images``, and its label."""
        test = self.rows["test"]
        return {"row": test.tolist(), "label": self.digit_labels[test].tolist()}

    def pictures(self, part: str, rows: Sequence[int]) -> Images:
        return self.images[self.rows[part][rows]]

    def picture_names(self, part: str) -> list[str]:
        return [f"row {row}" for row in self.rows[part]]


class MNIST(DigitsDataModule):
    """MNIST: rows 0 to 59,999 are the official training part, 60,000 to 69,999 the test part.

    Args:
        root: folder of all data, where the verified copy is kept; local idx files may lie there.
        validation_fraction: share of the training rows, drawn by ``split_seed``; 0 for none.
        split: ``official``, or ``lesson``: as in fast.ai's lesson 5, whose file ``mnist.pkl.gz``
            has the first 50,000 rows for training, and the next 10,000 are tested on.
    """

    def __init__(
        self,
        root: Text,
        validation_fraction: Fraction,
        split: Literal["official", "lesson"] = "official",
    ) -> None:
        super().__init__()
        self.root = Path(root)
        self.validation_fraction = validation_fraction
        self.split = split

    def prepare_data(self) -> None:
        if not self.parts:  # Lightning calls this again before each fit and test
            MNIST_70K.fetch(self.root)

    def load_digits(self) -> tuple[Digits, str]:
        train, test, source = load_mnist(self.root)
        self.n_train = len(train[1])
        images = np.concatenate([train[0], test[0]])
        return (images, np.concatenate([train[1], test[1]])), source

    def split_rows(self, labels: Labels) -> dict[str, Indices]:
        train, test = np.split(np.arange(len(labels)), [self.n_train])
        if self.split == "lesson":
            train, test = np.split(train, [self.n_train * 5 // 6])
        return with_validation(train, test, self.validation_fraction, self.split_seed)

    def title(self) -> str:
        return f"MNIST, split {self.split}"


class MNIST5K(DigitsDataModule):
    """5,000 digits of MNIST in five stratified folds: 4,000 for training, 1,000 for the test.

    Its numbers are not comparable with those of all of MNIST.

    Args:
        root: folder of all data, where the verified copy is kept; a local ``mnist_5k.csv.gz`` may
            lie there.
        fold: which of the folds, drawn by ``split_seed``, is the test part.
        validation_fraction: share of the training rows, drawn by ``split_seed``; 0 for none.
    """

    def __init__(
        self, root: Text, fold: Literal[1, 2, 3, 4, 5], validation_fraction: Fraction
    ) -> None:
        super().__init__()
        self.root = Path(root)
        self.fold = fold
        self.validation_fraction = validation_fraction

    def prepare_data(self) -> None:
        if not self.parts:  # Lightning calls this again before each fit and test
            MNIST_5K.fetch(self.root)

    def load_digits(self) -> tuple[Digits, str]:
        return load_mnist_5k(self.root)

    def split_rows(self, labels: Labels) -> dict[str, Indices]:
        train, test = fold_rows(labels, self.fold, self.split_seed)
        return with_validation(train, test, self.validation_fraction, self.split_seed)

    def title(self) -> str:
        return f"MNIST-5k, fold {self.fold}"


def fold_rows(labels: Labels, fold: int, seed: int) -> tuple[Indices, Indices]:
    """Return the rows outside one of the five stratified folds, and those in it."""
    in_fold = stratified_folds(labels, FOLDS, seed) == fold
    return np.flatnonzero(~in_fold), np.flatnonzero(in_fold)


def flat_pixels(images: Images) -> torch.Tensor:
    """images (N, 28, 28) uint8 -> (N, 784) float32 from 0 to 1."""
    return torch.from_numpy(images).flatten(1).to(torch.float32).div_(255)
