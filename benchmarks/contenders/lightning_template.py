"""Lightning as templates use it: a DataLoader, metrics logged in each step, the usual callbacks.

The pattern is that of lightning-hydra-template: torchmetrics objects updated in each step and
logged over the epoch, a CSV logger, checkpoints by the validation metric, a rich progress bar.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import (
    LearningRateMonitor,
    ModelCheckpoint,
    RichModelSummary,
    RichProgressBar,
)
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import Accuracy, MeanMetric, MeanSquaredError, Metric

from benchmarks.contenders.plain_models import plain_model
from benchmarks.contenders.task import Task, contend


class TemplateModule(LightningModule):
    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task
        self.net, self.criterion = plain_model(task)
        self.train_loss, self.val_loss, self.test_loss = MeanMetric(), MeanMetric(), MeanMetric()
        self.train_metric, self.val_metric, self.test_metric = (self._metric() for _ in range(3))

    def _metric(self) -> Metric:
        if self.task.metric == "rmse":
            return MeanSquaredError(squared=False)
        return Accuracy(task="multiclass", num_classes=self.task.sizes["n_classes"])  # pyright: ignore[reportReturnType]

    def _step(self, batch: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        *inputs, target = batch
        output = self.net(*inputs)
        loss = self.criterion(output, target)
        return loss, output if self.task.metric == "rmse" else output.argmax(dim=1), target

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        loss, predictions, target = self._step(batch)
        self.train_loss(loss)
        self.train_metric(predictions, target)
        self.log("train/loss", self.train_loss, on_step=False, on_epoch=True, prog_bar=True)
        self.log("train/metric", self.train_metric, on_step=False, on_epoch=True, prog_bar=True)
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        loss, predictions, target = self._step(batch)
        self.val_loss(loss)
        self.val_metric(predictions, target)
        self.log("val/loss", self.val_loss, on_step=False, on_epoch=True, prog_bar=True)
        self.log("val/metric", self.val_metric, on_step=False, on_epoch=True, prog_bar=True)

    def test_step(self, batch: list[Tensor], batch_idx: int) -> None:
        _, predictions, target = self._step(batch)
        self.test_metric(predictions, target)
        self.log("test/metric", self.test_metric, on_step=False, on_epoch=True)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(
            self.parameters(),
            self.task.lr,
            betas=(0.9, 0.99),
            weight_decay=self.task.weight_decay,
        )
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.task.lr, total_steps=steps)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


def build(task: Task) -> tuple[Callable[[], int], Callable[[], float]]:
    seed_everything(task.seed)
    folder = Path(sys.argv[1])

    def loader(part: str, *, shuffle: bool = False) -> DataLoader[Any]:
        rows = TensorDataset(*(torch.from_numpy(array) for array in task.part(part)))
        return DataLoader(rows, task.batch_size, shuffle=shuffle)

    train, val, test = loader("train", shuffle=True), loader("val"), loader("test")
    module = TemplateModule(task)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=task.epochs,
        logger=CSVLogger(folder),
        callbacks=[
            ModelCheckpoint(folder / "checkpoints", monitor="val/metric", save_last=True),
            LearningRateMonitor(logging_interval="step"),
            RichModelSummary(),
            RichProgressBar(),
        ],
    )

    def fit() -> int:
        trainer.fit(module, train, val)
        return trainer.global_step

    return fit, lambda: trainer.test(module, test)[0]["test/metric"]


if __name__ == "__main__":
    contend(build)
