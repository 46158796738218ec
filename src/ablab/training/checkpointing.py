"""When a run writes checkpoints, and which of them stay."""

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
    """What was measured of the last epoch: neither the loss since the last report within it, nor
    what validation said at an earlier step than the current one."""
    current = trainer.global_step == validated_at
    return {
        name: float(value)
        for name, value in trainer.callback_metrics.items()
        if name != "train/loss" and (current or not name.startswith("val/"))
    }


class RunCheckpoints(Checkpoint):
    """Checkpoints after each epoch, every ``every_n_steps``, and when a signal asks to stop.

    The newest ``keep`` stay, and the best by ``monitor``. A stop that falls on the last batch of an
    epoch waits for the epoch's end, so that its validation is part of what is saved.
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
    ) -> None:
        self.folder = folder
        self.every_n_steps = every_n_steps
        self.keep = keep
        self.monitor = monitor
        self.mode: Literal["min", "max"] = mode
        self.interruption = interruption
        self.before = before
        self._metrics: dict[str, float] = {}
        self._validated_at = -1
        if getattr(rank_zero_only, "rank", 0) == 0:  # the only one that writes
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
        self._save(trainer, {})
        self.interruption.raise_if_requested()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._save(trainer, epoch_metrics(trainer, self._validated_at))
        if not trainer.should_stop:  # the run itself asks when the phase has been closed
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
            return  # ranks may stand at different steps, and saving waits for all of them
        self._metrics = metrics
        step = self.before.steps + trainer.global_step
        trainer.save_checkpoint(self.folder / f"step={step:08d}.ckpt")

    def retained(self, entries: list[Entry]) -> list[Entry]:
        best = best_of(entries, self.monitor, self.mode) if self.monitor else None
        return [*(e for e in entries[: -self.keep] if e == best), *entries[-self.keep :]]


def _prepare(folder: Path) -> None:
    """Raises RunFolderError if checkpoints cannot be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)
        (folder / ".writable").touch()
        (folder / ".writable").unlink()
    except OSError as error:
        raise RunFolderError(f"{folder}: cannot be written ({error.strerror})") from error
