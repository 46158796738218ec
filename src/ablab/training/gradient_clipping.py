"""Clipping of gradients, which Lightning leaves to a module that takes its steps itself."""

from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim import Optimizer


class GradientClipping(Callback):
    """``trainer.gradient_clip_val``: before each step, with gradients that are not scaled any more.

    A callback, and no hook of the module, so that a model may have that hook for itself.
    """

    def __init__(self, value: float, algorithm: str) -> None:
        self.value, self.algorithm = value, algorithm

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        pl_module.clip_gradients(optimizer, self.value, self.algorithm)
