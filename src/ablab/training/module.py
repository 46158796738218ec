"""The LightningModule that trains models which only give layers and ``forward``."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torchmetrics import Metric

from ablab.config.schema import NonFiniteCheck
from ablab.errors import CheckpointError, ConfigError
from ablab.optim.decay import weight_penalty
from ablab.optim.optimizers import build_optimizer
from ablab.optim.scheduler import GroupScheduler, build_scheduler, momentum_of
from ablab.runs.checkpoints import Progress
from ablab.training.freezing import freeze_to, frozen_batch_norms
from ablab.training.logged import report_at
from ablab.training.measured import MeasuredModule
from ablab.training.nonfinite import (
    NonFiniteLossError,
    describe_loss,
    named_in_groups,
    refuse_nonfinite_gradients,
    refuse_nonfinite_state,
)
from ablab.training.phases import PhasePlan, steps_of_a_fit
from ablab.training.randomness import reseed_torch
from ablab.training.running_loss import RunningLoss
from ablab.training.sharding import FullySharded, shard
from ablab.training.steps import StepTaker, step_taker, without_autocast, without_communication

_STEP_COUNT = "epoch_loop.manual_optimization.optim_step_progress"  # in Lightning's checkpoints


class SupervisedModule(MeasuredModule):
    """The base class of models that give layers, ``forward`` and perhaps ``layer_groups``.

    Batches are ``(*inputs, target)``, unless a model overrides ``split_batch``. A fit needs
    ``prepare_training`` first; prediction does not.
    """

    def layer_groups(self) -> Mapping[str, Sequence[nn.Module | nn.Parameter]]:
        """Return named groups of layers from input to output, with every parameter in one."""
        return {"all": [self]}

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False  # a training step takes several optimiser steps

    def prepare_training(
        self,
        *,
        loss: nn.Module,
        metrics: dict[str, Metric],
        order_seed: int,
        error_if_nonfinite: NonFiniteCheck = "loss",
    ) -> None:
        """Set the loss and the metrics, the seed of dropout, and what must stay finite."""
        self.set_objective(loss, metrics)
        self.order_seed = order_seed
        self.error_if_nonfinite = error_if_nonfinite
        self.running_loss = RunningLoss(error_if_nonfinite=error_if_nonfinite != "none")

    @property
    def output_range(self) -> tuple[float, float] | None:
        """The least and the largest output, or None; the targets are compared with them."""
        return None

    def load_pretrained(self) -> None:
        """Load weights from elsewhere; it is called once, before the first step of a new run."""
        return

    def begin_phase(self, phase: PhasePlan, before: Progress) -> None:
        """Prepare for the fit of a phase: freeze as it says, and count on from ``before``.

        Raises:
            ConfigError: ``freeze_to`` leaves no layer group, or counts more than there are.
        """
        self.phase, self.before = phase, before
        self.freeze_to(phase.freeze_to, train_norm=phase.train_norm)
        self.train()

    def freeze_to(self, n: int, *, train_norm: bool = True) -> None:
        """Freeze the layer groups before index ``n``, but not their norm layers.

        Raises:
            ConfigError: there is no group ``n``.
        """
        freeze_to(self, self.layer_groups(), n, train_norm=train_norm)

    def train(self, mode: bool = True) -> Self:
        """Set the mode as torch does, but keep the statistics of frozen batch norms as they are
        (fastai's BnFreeze)."""
        super().train(mode)
        for norm in frozen_batch_norms(self):
            norm.eval()
        return self

    def configure_model(self) -> None:
        """Shard the parameters under FSDP, before the optimiser is built of them."""
        if isinstance(self.trainer.strategy, FullySharded):
            shard(self, self.trainer.strategy.device_mesh["data_parallel"])

    def configure_optimizers(self) -> Any:
        optim, schedule = self.phase.optim, self.phase.schedule
        assert optim is not None
        assert schedule is not None
        optimizer = build_optimizer(self, optim)
        _ = self.trainer.estimated_stepping_batches  # makes the loader
        steps = steps_of_a_fit(self.trainer, self.phase.steps)
        if not math.isfinite(steps):
            raise ConfigError(
                "trainer: a schedule needs an end; set trainer.max_epochs, or for data without a "
                "length trainer.max_steps=1000 trainer.max_epochs=null"
            )
        return [optimizer], [build_scheduler(optimizer, schedule, int(steps))]

    @property
    def total_steps(self) -> int:
        """Optimiser steps since the run began, those of earlier phases included."""
        return self.before.steps + self.global_step

    @property
    def total_epochs(self) -> int:
        """Finished epochs since the run began, those of earlier phases included."""
        return self.before.epochs + self.current_epoch

    # -- training --------------------------------------------------------------------------------

    def training_loss(self, inputs: Sequence[Tensor], target: Tensor) -> Tensor:
        """Return what a step minimises apart from weight decay, as a scalar."""
        return self.loss_function(self(*inputs), target)

    def training_step(self, batches: Sequence[Sequence[Tensor]], batch_idx: int) -> Tensor:
        """Take the optimiser steps of an execution, on ``batches`` in order; return the last loss.

        Raises:
            TrainingError: the loss, or a gradient, is not finite.
        """
        plan, trainer = self.phase.steps, self.trainer
        steps = step_taker(self)
        scheduler = cast(GroupScheduler, self.lr_schedulers())
        every = trainer.log_every_n_steps  # pyright: ignore[reportAttributeAccessIssue]
        loss = torch.zeros(())
        step = self.total_steps
        last_step = self.before.steps + trainer.max_steps if trainer.max_steps != -1 else None
        for start in range(0, len(batches), plan.batches_per_step):
            steps.zero_grad()
            of_step = batches[start : start + plan.batches_per_step]
            first = batch_idx * plan.batches_per_execution + start  # its number in the epoch
            step += 1
            for number, batch in enumerate(of_step[:-1], first):
                with without_communication(trainer.strategy):
                    self._backward(batch, number, step, steps)
            loss = self._backward(of_step[-1], first + len(of_step) - 1, step, steps)
            if self.error_if_nonfinite == "gradients":
                refuse_nonfinite_gradients(named_in_groups(steps.optimizer), step, loss)
            if every and step % every == 0:
                with self._losses_described(step):
                    mean = self.running_loss.close_window()
                self.report({"train/loss": mean, **pace_of(self._optimizer)}, step)
            steps.step()
            scheduler.step()
            if step == last_step:
                break
        return loss

    def _backward(
        self, batch: Sequence[Tensor], number: int, step: int, steps: StepTaker
    ) -> Tensor:
        self._reseed(number)
        inputs, target = self.split_batch(batch)
        loss = self.training_loss(inputs, target)
        self.running_loss.add(loss.detach(), len(target), step)
        penalty = weight_penalty(steps.optimizer)
        loss = loss if penalty is None else loss + penalty
        if self.phase.steps.batches_per_step > 1:
            loss = loss / self.phase.steps.batches_per_step
        with without_autocast(self.device.type):
            steps.backward(loss)
        return loss.detach()

    def on_train_epoch_end(self) -> None:
        with self._losses_described(self.total_steps):
            self.running_loss.close_window()
        self.report({"train/loss_epoch": self.running_loss.close_epoch()})

    @contextmanager
    def _losses_described(self, step: int) -> Iterator[None]:
        """Raise TrainingError in place of NonFiniteLossError."""
        try:
            yield
        except NonFiniteLossError as error:
            raise describe_loss(error, named_in_groups(self._optimizer), step) from error

    @property
    def _optimizer(self) -> Optimizer:
        return self.trainer.optimizers[0]

    def _reseed(self, batch_idx: int) -> None:
        """Make dropout a function of (seed, epoch, batch, rank), which a resumed run repeats."""
        reseed_torch(self.device, self.order_seed, self.total_epochs, batch_idx, self.global_rank)

    def on_validation_start(self) -> None:
        """Raise TrainingError if a loss since the last report was not finite."""
        with self._losses_described(self.total_steps):
            self.running_loss.check()
        super().on_validation_start()

    # -- reporting and state ---------------------------------------------------------------------

    def report(self, values: dict[str, float], step: int | None = None) -> None:
        """Log to callbacks through Lightning, and to trackers by optimiser step.

        ``self.log`` alone would count batches on the trackers' axis.
        """
        hidden = ("lr/", "momentum")
        shown = {name: value for name, value in values.items() if not name.startswith(hidden)}
        self.log_dict(shown, logger=False, prog_bar=True)
        values = {"epoch": float(self.total_epochs), **values}
        report_at(self.loggers, values, self.total_steps if step is None else step)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the sums of losses. Raise TrainingError for a state that is not finite."""
        with self._losses_described(self.total_steps):
            checkpoint["train_loss"] = self.running_loss.state_dict()
        if self.error_if_nonfinite != "none":
            named = named_in_groups(self._optimizer)
            refuse_nonfinite_state(self, named, self.trainer.optimizers, self.total_steps)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Load those sums. Raise CheckpointError if the optimiser steps are counted elsewhere."""
        counted = checkpoint["loops"]["fit_loop"][_STEP_COUNT]["total"]["completed"]
        if counted != checkpoint["global_step"]:
            raise CheckpointError(
                "the checkpoint is of an earlier version of this package, under which its run can "
                "be continued; here, begin a new one"
            )
        self.running_loss.load_state_dict(checkpoint["train_loss"], self.global_rank)


def pace_of(optimizer: Optimizer) -> dict[str, float]:
    """Return the learning rate of each group, and the momentum (Adam's β₁) they share."""
    rates = {f"lr/{group['name']}": group["lr"] for group in optimizer.param_groups}
    momentum = momentum_of(optimizer)
    return rates if momentum is None else {**rates, "momentum": momentum}
