"""SimCLR (Chen et al. 2020, arXiv 2002.05709) as lightly's documentation writes it."""

from typing import Any

import torch
from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from lightning.pytorch import LightningModule
from torch import Tensor, nn


class SimCLR(LightningModule):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            *(nn.Conv2d(3, width, 3, stride=2), nn.BatchNorm2d(width), nn.ReLU()),
            *(nn.Conv2d(width, 2 * width, 3, stride=2), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        )
        self.head = SimCLRProjectionHead(2 * width, 2 * width, width)
        self.criterion = NTXentLoss(temperature=0.2)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.head(self.backbone(pictures))

    def loss_of(self, views: list[Tensor], part: str) -> Tensor:
        loss = self.criterion(self(views[0]), self(views[1]))
        self.log(f"{part}/loss", loss, batch_size=len(views[0]))
        return loss

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.loss_of(batch, "train")

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.loss_of(batch, "val")

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.loss_of(batch, "test")

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.9)
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 6)]
