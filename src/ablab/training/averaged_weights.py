"""Evaluate and save the averaged weights of optimisers that have them, such as schedule-free ones.

Such an optimiser trains one set of weights and is judged by another, and its ``eval()`` and
``train()`` change the one into the other up to rounding. The weights of training are put back
exactly, so that neither a validation nor a checkpoint changes what a run computes.
"""

from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from ablab.optim.explicit_decay import averages_weights, parts_of

_KEY = "training_weights"  # in a checkpoint, whose state dict holds the averaged ones


class AveragedWeights(Callback):
    """Switch optimisers with ``train()`` and ``eval()`` around evaluation and checkpoints.

    It does nothing for others. Checkpoints hold the averaged weights as the model's, and continue
    from those of training.
    """

    def __init__(self) -> None:
        self._of_training: dict[str, Tensor] | None = None  # while the averaged ones are in place
        self._loaded: Mapping[str, Tensor] = {}

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._loaded = checkpoint.get(_KEY, {})

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if _averaging(trainer):
            self._of_training, self._loaded = dict(self._loaded), {}
            self._put_back(trainer, pl_module)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if _averaging(trainer):
            self._average(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._put_back(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if _averaging(trainer):
            self._average(trainer, pl_module)
            self._of_training = None  # the model is left with those that are its result

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if not _averaging(trainer):
            return
        within = self._of_training is not None  # a validation
        if not within:
            self._average(trainer, pl_module)
        weights = {name: p.detach().clone() for name, p in pl_module.named_parameters()}
        checkpoint["state_dict"] = {**checkpoint["state_dict"], **weights}
        checkpoint[_KEY] = self._of_training
        if not within:
            self._put_back(trainer, pl_module)

    def _average(self, trainer: Trainer, module: LightningModule) -> None:
        self._of_training = {name: p.detach().clone() for name, p in module.named_parameters()}
        for optimizer in _averaging(trainer):
            optimizer.eval()

    def _put_back(self, trainer: Trainer, module: LightningModule) -> None:
        if self._of_training is None:
            return
        for optimizer in _averaging(trainer):
            optimizer.train()
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                if name in self._of_training:
                    parameter.copy_(self._of_training[name])
        self._of_training = None


def _averaging(trainer: Trainer) -> list[Any]:
    parts = [part for optimizer in trainer.optimizers for part in parts_of(optimizer)]
    return [part for part in parts if averages_weights(part)]
