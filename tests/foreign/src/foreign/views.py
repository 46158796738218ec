"""Pairs of views of the same picture, as lightly's transform for SimCLR draws them."""

from collections.abc import Mapping
from typing import Any

import torch
from lightly.transforms import SimCLRTransform
from torch import Tensor
from torch.utils.data import Dataset, Subset
from torchvision.transforms.functional import to_pil_image

from ablab import DatasetModule
from ablab.config.schema import Count


class Pairs(Dataset[list[Tensor]]):
    """A sample is a list of two views (3, 32, 32) of a picture of coarse random colours."""

    def __init__(self, n: int) -> None:
        coarse = torch.rand(n, 3, 4, 4, generator=torch.Generator().manual_seed(0))
        self.pictures = [to_pil_image(p) for p in torch.nn.Upsample(32)(coarse)]
        self.transform = SimCLRTransform(32, cj_strength=0.2, min_scale=0.5, gaussian_blur=0.0)

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> list[Tensor]:
        return self.transform(self.pictures[index])


class Views(DatasetModule):
    def __init__(self, n_pictures: Count) -> None:
        super().__init__()
        self.n_pictures = n_pictures

    def datasets(self) -> Mapping[str, Dataset[Any]]:
        pairs, n = Pairs(self.n_pictures), self.n_pictures
        ends = {"train": (0, 0.6), "val": (0.6, 0.8), "test": (0.8, 1)}
        return {
            part: Subset(pairs, range(int(first * n), int(last * n)))
            for part, (first, last) in ends.items()
        }
