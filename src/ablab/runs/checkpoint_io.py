"""Lightning's reading and writing of checkpoints, replaced by ours.

Lightning 2.6 writes a checkpoint to the system's temporary folder and moves it over the last good
one. Across file systems that is a copy, which a kill or a full disk cuts short; a read-only folder
is ignored silently.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.fabric.plugins import CheckpointIO

from ablab.errors import CheckpointError
from ablab.runs.checkpoint_files import write_checkpoint
from ablab.runs.checkpoints import (
    Entry,
    Manifest,
    Progress,
    Retained,
    checkpoint_write_errors,
    load_checkpoint,
)
from ablab.runs.plain_values import other_values

# What a fit needs to continue, besides the state of its module.
_TO_CONTINUE = ("state_dict", "optimizer_states", "lr_schedulers", "loops", "global_step", "epoch")


class AtomicCheckpointIO(CheckpointIO):
    """Lightning's plug-in for reading and writing checkpoint files.

    Args:
        retained: for a folder, the function that selects the checkpoints that are kept when one is
            added; other folders keep all.
    """

    def __init__(self, retained: Mapping[Path, Retained] | None = None) -> None:
        self.retained = retained or {}

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        path = Path(path)
        if other := next(other_values(checkpoint), None):
            raise CheckpointError(
                f"{path}: the checkpoint would hold a {other[1]} at {other[0]}; a module, "
                f"optimiser, callback or scheduler may keep tensors and plain values only, since a "
                f"checkpoint that holds more runs code when it is read"
            )
        with checkpoint_write_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            sha256 = write_checkpoint(checkpoint, path)
            before = Progress(**checkpoint.get("before", {}))
            entry = Entry(
                path.name,
                sha256,
                before.steps + checkpoint["global_step"],
                before.epochs + checkpoint["epoch"],
                checkpoint.get("metrics", {}),
                before,
            )
            Manifest(path.parent).add(entry, self.retained.get(path.parent))

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        checkpoint = load_checkpoint(Path(path))
        if lacking := [name for name in _TO_CONTINUE if name not in checkpoint]:
            raise CheckpointError(
                f"{path}: a run cannot be continued from it (it lacks {', '.join(lacking)})"
            )
        return checkpoint

    def remove_checkpoint(self, path: str | Path) -> None:
        path = Path(path)
        Manifest(path.parent).remove(path.name)  # first, so that no listed file is missing
        path.unlink(missing_ok=True)
