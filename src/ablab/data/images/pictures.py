"""The interface of data whose rows can be shown as pictures."""

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from ablab.data.module import TensorDataModule


class PictureDataModule(TensorDataModule):
    """Rows are pictures with a class each: the target is int64 (N,), from 0."""

    def pictures(self, part: str, rows: Sequence[int]) -> NDArray[Any]:
        """Return ``rows`` of a part, grey (n, H, W) or colour (n, H, W, 3), uint8 or float 0..1."""
        raise NotImplementedError

    def picture_names(self, part: str) -> list[str]:
        """A name for each row of a part, no two alike."""
        raise NotImplementedError
