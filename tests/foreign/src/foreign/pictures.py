"""Pictures that are drawn: noise with a bright bar, whose place is the class."""

import torch

from ablab import TensorDataModule
from ablab.config.schema import Count

SIZE, N_CLASSES = 16, 4


class Pictures(TensorDataModule):
    """Batches are ``(pictures (B, 1, 16, 16) float32, label (B,) int64)``."""

    def __init__(self, n_rows: Count) -> None:
        super().__init__()
        self.n_rows = n_rows

    @property
    def sizes(self) -> dict[str, int]:
        return {"n_classes": N_CLASSES}

    def setup(self, stage: str) -> None:
        if self.parts:
            return
        random = torch.Generator().manual_seed(self.split_seed)
        labels = torch.arange(self.n_rows) % N_CLASSES
        pictures = torch.rand(self.n_rows, 1, SIZE, SIZE, generator=random)
        for picture, label in zip(pictures, labels, strict=True):
            picture[:, label * 4 : label * 4 + 4] += 2
        self.parts = self.random_parts((pictures, labels), 0.2, 0.1)
