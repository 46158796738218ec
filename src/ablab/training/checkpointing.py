"""The callback that writes a run's checkpoints and decides which are kept."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.model_helpers import is_overridden

from ablab.errors import ConfigError, RunFolderError
from ablab.runs.checkpoints import Entry, Progress, retained_of
from ablab.runs.plain_values import leave_out_arguments
from ablab.safety.atomic_files import remove_leftovers
from ablab.safety.signals import Interruption
from ablab.training.data_end import refuse_empty_epoch
from ablab.training.logged import write_logged
from ablab.training.module import SupervisedModule


class EpochMetrics:
    """The metrics of an epoch that ends: the latest value of all that was logged in it.

    Left out are validation metrics of an earlier step, the loss that a ``SupervisedModule`` reports
    within an epoch, and ``loss_step`` and ``loss_epoch`` where ``loss`` is the latter.
    """

    def __init__(self) -> None:
        self._of_training: set[str] = set()
        self._of_validation: set[str] = set()
        self._validated_at = -1

    def begin_validation(self, trainer: Trainer) -> None:
        self._of_training |= trainer.callback_metrics.keys() - self._of_validation

    def end_validation(self, trainer: Trainer) -> None:
        self._of_validation |= trainer.callback_metrics.keys() - self._of_training
        self._validated_at = trainer.global_step

    def is_validated(self, trainer: Trainer) -> bool:
        """Return whether the module was validated after the present step."""
        return trainer.global_step == self._validated_at

    def of_validation(self, trainer: Trainer) -> dict[str, float]:
        """Return those that a validation has logged."""
        logged = trainer.callback_metrics
        return {name: float(v) for name, v in logged.items() if name in self._of_validation}

    def read(self, trainer: Trainer) -> dict[str, float]:
        """Return the metrics, by the names under which they were logged."""
        logged = trainer.callback_metrics
        forks = ((f"{name}_step", f"{name}_epoch") for name in logged)
        others = {name for fork in forks if logged.keys() >= set(fork) for name in fork}
        if not self.is_validated(trainer):
            others |= self._of_validation
        if isinstance(trainer.lightning_module, SupervisedModule):
            others.add("train/loss")
        return {name: float(value) for name, value in logged.items() if name not in others}


class RunCheckpoints(Checkpoint):
    """Write a checkpoint after each epoch, every ``every_n_steps``, and when a signal asks to stop.

    The newest ``keep`` are kept, and the best by ``monitor``. A stop on the last batch of an epoch
    waits for the end of the epoch, so that the checkpoint includes its validation. Where the data
    cannot go on in mid-epoch, checkpoints are written at epoch ends only (``in_mid_epoch``).
    """

    def __init__(
        self,
        folder: Path,
        *,
        every_n_steps: int | None,
        keep: int,
        monitor: str | None,
        mode: Literal["min", "max"],
        interruption: Interruption,
        before: Progress,
        in_mid_epoch: bool = True,
    ) -> None:
        self.folder = folder
        self.every_n_steps = every_n_steps
        self.keep = keep
        self.monitor = monitor
        self.mode: Literal["min", "max"] = mode
        self.interruption = interruption
        self.before = before
        self.in_mid_epoch = in_mid_epoch
        self._metrics: dict[str, float] = {}
        self._epoch_metrics = EpochMetrics()
        if getattr(rank_zero_only, "rank", 0) == 0:  # no other rank writes
            prepare_folder(folder)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.interruption.install()
        self.interruption.deferred = True
        self._last_step = self.before.steps + trainer.global_step

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.interruption.deferred = False

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step = self.before.steps + trainer.global_step
        every, last, self._last_step = self.every_n_steps, self._last_step, step
        due = every is not None and step // every > last // every
        if (not due and self.interruption.requested is None) or trainer.is_last_batch:
            return
        if trainer.fit_loop._should_accumulate():  # A checkpoint holds no gradients.
            return
        if self.in_mid_epoch:
            self._save(trainer, {})
        self.interruption.raise_if_requested()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        refuse_empty_epoch(trainer)
        metrics = self._epoch_metrics.read(trainer)
        if self.monitor not in metrics and self._expects_monitor(trainer, pl_module):
            raise ConfigError(
                f"objective.metric: {type(pl_module).__name__} has not logged '{self.monitor}'; it "
                f"has logged {', '.join(metrics) or 'nothing'}"
            )
        self._save(trainer, metrics)
        if not trainer.should_stop:  # otherwise the run stops when it has closed the phase
            self.interruption.raise_if_requested()

    def _expects_monitor(self, trainer: Trainer, module: LightningModule) -> bool:
        """Return whether a module with its own steps should have logged the metric by now."""
        if self.monitor is None or isinstance(module, SupervisedModule):
            return False
        validates = trainer.limit_val_batches and is_overridden("validation_step", module)
        return self._epoch_metrics.is_validated(trainer) or not validates

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._epoch_metrics.begin_validation(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._epoch_metrics.end_validation(trainer)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint["metrics"] = self._metrics
        checkpoint["before"] = asdict(self.before)
        leave_out_arguments(checkpoint)

    def _save(self, trainer: Trainer, metrics: dict[str, float]) -> None:
        if trainer.world_size > 1 and self.interruption.requested is not None:
            return  # saving waits for all ranks, and they may be at different steps
        write_logged(trainer)
        self._metrics = metrics
        step = self.before.steps + trainer.global_step
        trainer.save_checkpoint(self.folder / f"step={step:08d}.ckpt")

    def retained(self, entries: list[Entry]) -> list[Entry]:
        """Return those of ``entries``, oldest first, that are kept."""
        return retained_of(entries, self.keep, self.monitor, self.mode)


def prepare_folder(folder: Path) -> None:
    """Make the folder. Raise RunFolderError if checkpoints cannot be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)
        (folder / ".writable").touch()
        (folder / ".writable").unlink()
    except OSError as error:
        raise RunFolderError(
            f"{folder}: checkpoints cannot be written there ({error.strerror}); choose another "
            f"folder with paths.runs=…"
        ) from error
