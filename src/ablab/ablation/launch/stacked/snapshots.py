"""The checkpoints of a member of a stack, in the format of a run alone.

A stack takes a snapshot of each member after each epoch, and writes those that are kept from time
to time: most are dropped again before they would have reached the disk.
"""

import copy
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import lightning
from lightning.pytorch import Trainer
from torch import Tensor

from ablab.runs.checkpoint_files import write_checkpoint
from ablab.runs.checkpoints import Entry, Manifest, Progress, checkpoint_write_errors, retained_of
from ablab.training.checkpointing import prepare_folder


class Snapshots:
    """The checkpoints that are kept of a member, on the disk or still in memory."""

    def __init__(
        self, folder: Path, keep: int, monitor: str | None, mode: Literal["min", "max"]
    ) -> None:
        self._manifest = Manifest(folder)
        self._rule = keep, monitor, mode
        self._listed: list[Entry] = []  # in the manifest
        self._entries: list[Entry] = []
        self._unwritten: dict[str, dict[str, Any]] = {}

    def open(self) -> None:
        """Prepare the folder, and read what an earlier part of the run has left there."""
        prepare_folder(self._manifest.folder)
        self._listed = self._entries = self._manifest.entries()

    def add(self, content: Mapping[str, Any], metrics: dict[str, float]) -> None:
        """Add a checkpoint, which shares no memory with the model any more; drop old ones."""
        before = Progress(**content["before"])
        step, epoch = before.steps + content["global_step"], before.epochs + content["epoch"]
        entry = Entry(f"step={step:08d}.ckpt", "", step, epoch, metrics, before)
        others = [e for e in self._entries if e.file != entry.file]
        self._entries = retained_of([*others, entry], *self._rule)
        self._unwritten[entry.file] = _owned({**content, "metrics": metrics})
        kept = {e.file for e in self._entries}
        self._unwritten = {file: c for file, c in self._unwritten.items() if file in kept}

    def write(self) -> None:
        """Write what is still in memory. Raises CheckpointError if that fails."""
        for number, entry in enumerate(self._entries):
            if entry.file in self._unwritten:
                path = self._manifest.folder / entry.file
                with checkpoint_write_errors(path):
                    digest = write_checkpoint(self._unwritten[entry.file], path)
                self._entries[number] = replace(entry, sha256=digest)
        if self._unwritten:
            self._manifest.replace(self._listed, self._entries)
            self._listed, self._entries = self._entries, list(self._entries)
            self._unwritten.clear()

    def end_phase(self, before_next: Progress) -> None:
        """Write what is in memory, and mark the newest as the start of the next phase."""
        self.write()
        self._manifest.end_phase(before_next)
        self._listed = self._entries = self._manifest.entries()


def _owned(value: Any) -> Any:
    """Return ``value`` with copies of its tensors: torch saves the whole of what a view is of."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {key: _owned(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_owned(inner) for inner in value]
    return value


class Loops:
    """The state of Lightning's loops at the end of an epoch, as a run alone has it.

    Args:
        executions: of an epoch: what Lightning calls its batches.
        validation_batches: of a validation.
    """

    def __init__(self, executions: int, validation_batches: int) -> None:
        trainer = Trainer(
            accelerator="cpu",
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        self._blank = trainer._checkpoint_connector._get_loops_state_dict()
        self._executions, self._validation_batches = executions, validation_batches

    def after(self, epoch: int, step: int, loader: dict[str, Any]) -> dict[str, Any]:
        """Return the state after epoch ``epoch`` and optimiser step ``step`` of a phase."""
        loops = copy.deepcopy(self._blank)
        fit = loops["fit_loop"]
        done = (epoch + 1) * self._executions
        fit["state_dict"] = {"combined_loader": [loader]}
        fit["epoch_loop.state_dict"] = {"_batches_that_stepped": done}
        fit["epoch_loop.batch_progress"] = _counted(done, self._executions, is_last_batch=True)
        steps = {"ready": step, "completed": step}
        fit["epoch_loop.manual_optimization.optim_step_progress"] = {
            "total": steps,
            "current": dict(steps),
        }
        if number := self._validation_batches:
            fit["epoch_loop.val_loop.batch_progress"] = _counted(number, number, is_last_batch=True)
        epochs = {"ready": epoch + 1, "completed": epoch, "started": epoch + 1}
        epochs["processed"] = epoch + 1
        fit["epoch_progress"] = {"total": epochs, "current": dict(epochs)}
        return loops


def _counted(total: int, current: int, **others: Any) -> dict[str, Any]:
    def all_of(number: int) -> dict[str, int]:
        return dict.fromkeys(("ready", "completed", "started", "processed"), number)

    return {"total": all_of(total), "current": all_of(current), **others}


def state_of(
    epoch: int,
    step: int,
    before: Progress,
    loops: Loops,
    data: tuple[str, dict[str, Any]],
) -> dict[str, Any]:
    """Return what the checkpoints of all members at this place have in common.

    Args:
        epoch, step: counted from the start of the run; the epoch has ended.
        before: the progress at the start of the phase.
        data: the name of the data's class, and the state of the loader.
    """
    epoch, step = epoch - before.epochs, step - before.steps
    return {
        "epoch": epoch,
        "global_step": step,
        "pytorch-lightning_version": lightning.__version__,
        "loops": loops.after(epoch, step, data[1]),
        "before": asdict(before),
        data[0]: data[1],
    }
