"""The callback that writes a run's checkpoints and decides which are kept."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities import rank_zero_only

from ablab.errors import RunFolderError
from ablab.runs.checkpoints import Entry, Progress, best_of
from ablab.safety.atomic_files import remove_leftovers
from ablab.safety.signals import Interruption


def epoch_metrics(trainer: Trainer, validated_at: int) -> dict[str, float]:
    """Return the metrics of the epoch that ends.

    Left out are the loss since the last report and validation metrics of an earlier step.
    """
    current = trainer.global_step == validated_at
    return {
        name: float(value)
        for name, value in trainer.callback_metrics.items()
        if name != "train/loss" and (current or not name.startswith("val/"))
    }


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
        self._validated_at = -1
        if getattr(rank_zero_only, "rank", 0) == 0:  # no other rank writes
            _prepare(folder)

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
        if self.in_mid_epoch:
            self._save(trainer, {})
        self.interruption.raise_if_requested()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._save(trainer, epoch_metrics(trainer, self._validated_at))
        if not trainer.should_stop:  # otherwise the run stops when it has closed the phase
            self.interruption.raise_if_requested()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._validated_at = trainer.global_step

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint["metrics"] = self._metrics
        checkpoint["before"] = asdict(self.before)

    def _save(self, trainer: Trainer, metrics: dict[str, float]) -> None:
        if trainer.world_size > 1 and self.interruption.requested is not None:
            return  # saving waits for all ranks, and they may be at different steps
        self._metrics = metrics
        step = self.before.steps + trainer.global_step
        trainer.save_checkpoint(self.folder / f"step={step:08d}.ckpt")

    def retained(self, entries: list[Entry]) -> list[Entry]:
        """Return those of ``entries``, oldest first, that are kept."""
        best = best_of(entries, self.monitor, self.mode) if self.monitor else None
        return [*(e for e in entries[: -self.keep] if e == best), *entries[-self.keep :]]


def _prepare(folder: Path) -> None:
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
