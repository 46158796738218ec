"""Tell a plateau schedule what a validation has measured."""

from lightning.pytorch import Callback, LightningModule, Trainer

from ablab.optim.scheduler import PlateauScheduler


class PlateauFollowed(Callback):
    """Give each plateau schedule the metric that it follows, after each validation of a fit.

    Lightning does so itself for modules that leave their optimiser steps to it.
    """

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or pl_module.automatic_optimization:
            return
        for config in trainer.lr_scheduler_configs:
            if isinstance(scheduler := config.scheduler, PlateauScheduler):
                scheduler.measure(float(trainer.callback_metrics[str(scheduler.plateau.monitor)]))
