"""Pictures with known pixels and labels, and untrained classifiers of them."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ablab.data.images.pictures import PictureDataModule
from toy.models import Net


class SmallPictures(PictureDataModule):
    """Vectors (N, 4), shown as squares of 2 x 2 pixels, float from 0 to 1."""

    def __init__(
        self, train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], classes: list[str]
    ) -> None:
        super().__init__()
        self.configure(batch_size=8, eval_batch_size=8)
        self.parts = {"train": train, "test": test}
        self.classes = classes

    def class_names(self, n_classes: int) -> list[str]:
        return self.classes[:n_classes]

    def pictures(self, part: str, rows: Sequence[int]) -> Any:
        return self.parts[part][0][rows].reshape(-1, 2, 2).numpy()

    def picture_names(self, part: str) -> list[str]:
        return [f"{part}/{row}.png" for row in range(len(self.parts[part][0]))]


def small_pictures(
    *, train: int = 30, test: int = 21, classes: Sequence[str] = ("a", "b", "c")
) -> SmallPictures:
    generator = torch.Generator().manual_seed(0)

    def part(rows: int) -> tuple[Tensor, Tensor]:
        return torch.rand(rows, 4, generator=generator), torch.arange(rows) % len(classes)

    return SmallPictures(part(train), part(test), list(classes))


def network(n_classes: int = 3, **settings: Any) -> Net:
    torch.manual_seed(1)
    model = Net(4, n_classes, n_hidden=6, **settings)
    model.prepare_training(loss=nn.CrossEntropyLoss(), metrics={}, order_seed=0)
    return model


def always(label: int, n_classes: int = 3) -> Net:
    """A classifier that predicts ``label`` for every picture."""
    model = network(n_classes)
    with torch.no_grad():
        model.lin2.weight.zero_()
        model.lin2.bias.copy_(2.0 * (torch.arange(n_classes) == label))
    return model
