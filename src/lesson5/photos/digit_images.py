"""MNIST's 5,000 digits as small colour images: two real tasks for transfer learning."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch

from ablab.config.schema import Count, Integer
from ablab.data.images.folder import ImageDataModule, ImageTable
from ablab.data.splits import hold_out, with_validation
from ablab.errors import DataError
from lesson5.digits.mnist import fold_rows
from lesson5.digits.mnist_source import MNIST_5K, load_mnist_5k


class DigitImages(ImageDataModule):
    """The digits of ``classes``, as images (3, size, size); the test part is one of five folds.

    Args:
        classes: digits to tell apart; their labels are 0, 1, … in this order.
        fold: which of the folds of MNIST5K is the test part.
        train_rows: number of the rows for training and validation, drawn by ``split_seed`` from
            those that are not for the test; None for all.
        settings: of ImageDataModule.
    """

    eval_batch_size = 256

    def __init__(
        self,
        classes: list[Integer],
        fold: Literal[1, 2, 3, 4, 5],
        train_rows: Count | None,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        if not set(classes) <= set(range(10)) or len(set(classes)) < max(2, len(classes)):
            raise DataError(f"data.classes: {classes} are not two or more different digits")
        self.digits: Sequence[int] = classes
        self.fold = fold
        self.train_rows = train_rows

    def prepare_data(self) -> None:
        MNIST_5K.fetch(self.root)

    def title(self) -> str:
        return f"MNIST-5k, digits {', '.join(map(str, self.digits))}, fold {self.fold}"

    def load_table(self) -> ImageTable:
        (images, labels), _ = load_mnist_5k(self.root)
        wanted = np.isin(labels, self.digits)
        train, test = (rows[wanted[rows]] for rows in fold_rows(labels, self.fold, self.split_seed))
        if self.train_rows is not None:
            if self.train_rows > len(train):
                raise DataError(
                    f"data.train_rows: is {self.train_rows}, and there are only {len(train)} "
                    f"training rows"
                )
            _, train = hold_out(train, self.train_rows / len(train), self.split_seed)
        index_of = {digit: index for index, digit in enumerate(self.digits)}
        return ImageTable(
            self._colour(images),
            np.array([index_of.get(int(label), -1) for label in labels]),
            [f"row {row}" for row in range(len(labels))],
            [str(digit) for digit in self.digits],
            with_validation(train, test, self.validation_fraction, self.split_seed),
        )

    def _colour(self, images: np.ndarray) -> np.ndarray:
        """Images (N, 28, 28) -> (N, 3, size, size), with three equal channels."""
        grey = torch.from_numpy(images).unsqueeze(1).float()
        side = [self.size, self.size]
        resized = torch.nn.functional.interpolate(grey, side, mode="bilinear", antialias=True)
        return resized.round().to(torch.uint8).expand(-1, 3, -1, -1).numpy()
