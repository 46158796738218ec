"""The interface of data whose rows can be shown as pictures."""

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from ablab.data.module import PartsDataModule


class PictureDataModule(PartsDataModule):
    """Rows are pictures with a class each: the target is int64 (N,), from 0."""

    def labels(self, part: str) -> Tensor:
        """The class of each row of a part, int64 (N,)."""
        return self.parts[part][-1]

    def training_targets(self) -> Tensor:
        return self.labels("train")

    def pictures(self, part: str, rows: Sequence[int]) -> NDArray[Any]:
        """Return ``rows`` of a part, grey (n, H, W) or colour (n, H, W, 3), uint8 or float 0..1."""
        raise NotImplementedError

    def picture_names(self, part: str) -> list[str]:
        """A name for each row of a part, no two alike."""
        raise NotImplementedError
