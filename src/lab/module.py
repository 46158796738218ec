"""The one LightningModule that all models share: batches are ``(*inputs, target)``."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric, MetricCollection

from lab.config.schema import Optim, Schedule
from lab.losses import activation_of
from lab.optim.decay import weight_penalty
from lab.optim.optimizers import build_optimizer
from lab.optim.schedules import GroupScheduler


class SupervisedModule(LightningModule):
    """A model file gives layers, ``forward`` and ``layer_groups``; what trains it comes from here.

    Call ``prepare_training`` before a fit; a model that only predicts does not need it.
    """

    def layer_groups(self) -> Mapping[str, Sequence[nn.Module | nn.Parameter]]:
        """Named groups of layers from input to output; together they hold every parameter once."""
        return {"all": [self]}

    def prepare_training(
        self,
        *,
        loss: nn.Module,
        metrics: dict[str, Metric],
        optim: Optim,
        schedule: Schedule,
        order_seed: int,
    ) -> None:
        """State the objective and how it is optimised."""
        self.loss_function = loss
        self.activation = activation_of(loss)
        self.evaluation_loss = MeanMetric()
        self.evaluation_metrics = MetricCollection(dict(metrics))
        self.metric_names = list(metrics)
        self.optim = optim
        self.schedule = schedule
        self.order_seed = order_seed
        # means over the steps since the last report, and over the epoch; part of a checkpoint
        self._window_loss = torch.zeros(())
        self._window_rows = 0
        self._epoch_loss = 0.0
        self._epoch_rows = 0

    def configure_optimizers(self) -> Any:
        optimizer = build_optimizer(self, self.optim)
        total_steps = int(self.trainer.estimated_stepping_batches)
        scheduler = GroupScheduler(optimizer, self.schedule, total_steps)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    # -- training --------------------------------------------------------------------------------

    def training_loss(self, inputs: Sequence[Tensor], target: Tensor) -> Tensor:
        """What a step minimises, weight decay aside; a scalar."""
        return self.loss_function(self(*inputs), target)

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
        self._reseed(batch_idx)
        *inputs, target = batch
        loss = self.training_loss(inputs, target)
        self._window_loss += loss.detach() * len(target)
        self._window_rows += len(target)
        step = self.global_step + 1
        every = self.trainer.log_every_n_steps  # pyright: ignore[reportAttributeAccessIssue]
        if every and step % every == 0:
            self._report({"train/loss": self._close_window(), **self._learning_rates()}, step)
        penalty = weight_penalty(self.trainer.optimizers[0])
        return loss if penalty is None else loss + penalty

    def on_train_epoch_end(self) -> None:
        self._close_window()
        self._report({"train/loss_epoch": self._epoch_loss / max(self._epoch_rows, 1)})
        self._epoch_loss, self._epoch_rows = 0.0, 0

    def _reseed(self, batch_idx: int) -> None:
        """Make dropout a function of (seed, epoch, batch, rank): a resumed run repeats it."""
        key = hash((self.order_seed, self.current_epoch, batch_idx, self.global_rank)) % 2**63
        torch.default_generator.manual_seed(key)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(key)

    def _close_window(self) -> float:
        window = float(self._window_loss)
        mean = window / max(self._window_rows, 1)
        self._epoch_loss += window
        self._epoch_rows += self._window_rows
        self._window_loss = torch.zeros_like(self._window_loss)
        self._window_rows = 0
        return mean

    def _learning_rates(self) -> dict[str, float]:
        groups = self.trainer.optimizers[0].param_groups
        return {f"lr/{group['name']}": group["lr"] for group in groups}

    # -- evaluation ------------------------------------------------------------------------------

    def validation_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        self._evaluate(batch)

    def on_validation_epoch_end(self) -> None:
        self._report(self._evaluation_result("val"))

    def test_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        self._evaluate(batch)

    def on_test_epoch_end(self) -> None:
        self.log_dict(self._evaluation_result("test"), logger=False)

    def predict_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
        *inputs, _ = batch
        return self.activation(self(*inputs))

    def _evaluate(self, batch: Sequence[Tensor]) -> None:
        *inputs, target = batch
        output = self(*inputs)
        self.evaluation_loss.update(self.loss_function(output, target), len(target))
        self.evaluation_metrics.update(self.activation(output), target)

    def _evaluation_result(self, stage: str) -> dict[str, float]:
        computed = self.evaluation_metrics.compute()
        values = {"loss": self.evaluation_loss.compute()}
        values |= {name: computed[name] for name in self.metric_names}  # in the config's order
        self.evaluation_loss.reset()
        self.evaluation_metrics.reset()
        return {f"{stage}/{name}": float(value) for name, value in values.items()}

    # -- reporting and state ---------------------------------------------------------------------

    def _report(self, values: dict[str, float], step: int | None = None) -> None:
        """To callbacks and the progress bar through Lightning, to trackers by optimiser step.

        ``self.log`` alone would count batches, not optimiser steps, on the trackers' axis.
        """
        shown = {name: value for name, value in values.items() if not name.startswith("lr/")}
        self.log_dict(shown, logger=False, prog_bar=True)
        values = {"epoch": float(self.current_epoch), **values}
        for logger in self.loggers:
            logger.log_metrics(values, step=self.global_step if step is None else step)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["train_loss"] = {
            "window": float(self._window_loss),
            "window_rows": self._window_rows,
            "epoch": self._epoch_loss,
            "epoch_rows": self._epoch_rows,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        state = checkpoint["train_loss"]
        self._window_loss = torch.tensor(state["window"])
        self._window_rows = state["window_rows"]
        self._epoch_loss, self._epoch_rows = state["epoch"], state["epoch_rows"]

    def on_fit_start(self) -> None:
        self._window_loss = self._window_loss.to(self.device)
