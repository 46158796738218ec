"""Checkpoints that survive being killed in mid-write, and that never run code when they are read.

Lightning 2.6 stages a checkpoint in the system's temporary folder and moves it over the last good
one, which across file systems is a copy that a kill or a full disk cuts short; a folder that is
read-only is passed over in silence. Here each checkpoint has a name of its own, ``manifest.json``
lists the complete ones with their sha256, and a resumed run walks back to the newest that verifies.
"""

import hashlib
import logging
import math
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, Annotated, Any, Literal, cast

import torch
from lightning.fabric.plugins import CheckpointIO
from pydantic import Field, TypeAdapter, ValidationError
from torch import Tensor, nn

from lab.atomic import atomic_write, read_file, refuse_special, write_json
from lab.errors import CheckpointError
from lab.phases import Progress

log = logging.getLogger(__name__)
# a name in the folder: what a manifest lists is read, and removed when it is old
FileName = Annotated[str, Field(pattern=r"^\w[\w.=+-]*$")]

# what a fit goes on from, beside what is its own module's
_TO_CONTINUE = ("state_dict", "optimizer_states", "lr_schedulers", "loops", "global_step", "epoch")


@dataclass(frozen=True)
class Entry:
    """A complete checkpoint, ``step`` optimiser steps in, with what was measured at that moment.

    ``step`` and ``epoch`` count from the run's start; ``before`` is what its phase began with, or,
    once that phase has ended, what the next one begins with.
    """

    file: FileName
    sha256: str
    step: int
    epoch: int
    metrics: dict[str, float]
    before: Progress = field(default_factory=Progress)


_ENTRIES = TypeAdapter(dict[Literal["checkpoints"], list[Entry]])


Retained = Callable[[list[Entry]], list[Entry]]  # of listed checkpoints, oldest first


class Manifest:
    """The list of complete checkpoints of a folder, oldest first; the file is the only truth."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "manifest.json"

    def entries(self) -> list[Entry]:
        """Raises CheckpointError if the list is there but cannot be read."""
        try:
            return _ENTRIES.validate_json(read_file(self.path), strict=True)["checkpoints"]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CheckpointError(f"{self.path}: cannot be read ({error.strerror})") from error
        except (ValueError, KeyError) as error:
            told = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
            raise CheckpointError(f"{self.path}: is not a list of checkpoints ({told})") from error

    def add(self, entry: Entry, retained: Retained | None = None) -> None:
        """List a complete checkpoint; of all that are then listed, only the ``retained`` stay.

        One writing for both, since each waits for the disk. Files are removed after it, so that no
        listed one is ever missing.
        """
        listed = [*(e for e in self.entries() if e.file != entry.file), entry]
        kept = listed if retained is None else retained(listed)
        self._write(kept)
        for dropped in listed:
            if dropped not in kept:
                (self.folder / dropped.file).unlink(missing_ok=True)

    def end_phase(self, before_next: Progress) -> None:
        """The newest checkpoint is where the next phase begins, if it was written at that step."""
        entries = self.entries()
        if entries and entries[-1].step == before_next.steps:
            self._write([*entries[:-1], replace(entries[-1], before=before_next)])

    def reopen_phase(self) -> None:
        """The first phase, of a run that has no other, is to go on from the newest checkpoint."""
        self._write([replace(e, before=Progress()) for e in self.entries()])

    def remove(self, file: str) -> None:
        self._write([e for e in self.entries() if e.file != file])

    def best(self, monitor: str, mode: Literal["min", "max"]) -> Entry | None:
        return best_of(self.entries(), monitor, mode)

    def newest_that_verifies(self) -> Entry | None:
        """The newest undamaged checkpoint, or None; damaged ones are named in the log.

        Raises:
            CheckpointError: this user may not read one. It need not be damaged, and a run that went
                on without it would remove it in the end.
        """
        for entry in reversed(self.entries()):
            try:
                verify(self.folder / entry.file, entry.sha256)
            except CheckpointError as error:
                if isinstance(error.__cause__, PermissionError):
                    raise
                log.warning("%s; the one before it is used", error)
            else:
                return entry
        return None

    def _write(self, entries: list[Entry]) -> None:
        """Raises CheckpointError if it cannot be written."""
        try:
            write_json(self.path, {"checkpoints": [asdict(e) for e in entries]})
        except OSError as error:
            raise CheckpointError(
                f"{self.path}: cannot be written ({error.strerror}); it is as it was. Make room "
                f"(or the disk writable), then continue this run"
            ) from error


def best_of(entries: list[Entry], monitor: str, mode: Literal["min", "max"]) -> Entry | None:
    """The entry with the best ``monitor``; the earlier one of equals."""
    scored = [e for e in entries if math.isfinite(e.metrics.get(monitor, math.nan))]
    pick = min if mode == "min" else max
    return pick(scored, key=lambda e: e.metrics[monitor], default=None)


def verify(path: Path, sha256: str) -> None:
    """Raises CheckpointError unless the file is there with this digest."""
    try:
        refuse_special(path)
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    if found != sha256:
        raise CheckpointError(
            f"{path}: is damaged (its sha256 is not that of the manifest); put a copy of it back, "
            f"or train again"
        )


def load_checkpoint(path: Path) -> dict[str, Any]:
    """A verified checkpoint on the CPU, read with ``weights_only=True``.

    Raises:
        CheckpointError: not listed in its folder's manifest, damaged, or holding more than tensors
            and plain values.
    """
    entry = next((e for e in Manifest(path.parent).entries() if e.file == path.name), None)
    if entry is None:
        raise CheckpointError(
            f"{path}: is not in its folder's manifest.json, so it may be incomplete"
        )
    verify(path, entry.sha256)
    content = read_tensors(path)
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: is not a checkpoint but a {type(content).__name__}")
    return content


def read_tensors(path: Path) -> Any:
    """Read a file that ``torch.save`` has written, onto the CPU, with ``weights_only=True``.

    Raises:
        CheckpointError: it cannot be read, holds more than tensors and plain values, or would take
            more memory than the file is large.
    """
    try:
        _refuse_compressed(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}") from error
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(
            f"{path}: holds more than tensors and plain values, or is damaged"
        ) from error


def _refuse_compressed(path: Path) -> None:
    """Raise CheckpointError for a zip archive whose entries are together larger than its file.

    torch compresses nothing, so only a file made to fill the memory is like that.
    """
    refuse_special(path)
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":  # written by torch before 1.6, which had no archives
            return
        with zipfile.ZipFile(file) as archive:
            declared = sum(entry.file_size for entry in archive.infolist())
    if declared > path.stat().st_size:
        raise CheckpointError(
            f"{path}: is compressed, and would take {declared:,} bytes; torch.save compresses "
            f"nothing, so this file is not one of a run"
        )


def load_state(module: nn.Module, state: Any, *, finite: bool) -> None:
    """Load a state dict into ``module``.

    Args:
        finite: refuse parameters that are not finite, and buffers that are nan (a mask may well be
            infinite).

    Raises:
        CheckpointError: it is not of this module, or holds what cannot be weights of it.
    """
    if not isinstance(state, Mapping) or not all(isinstance(name, str) for name in state):
        raise CheckpointError("holds no state dict")
    own = module.state_dict()
    parameters = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    try:
        for name in own.keys() & state.keys():
            tensor = state[name]
            if _kind(tensor) != _kind(own[name]):  # torch would copy it and drop imaginary parts
                raise CheckpointError(
                    f"is not of this model: {name} is {tensor.dtype}, not {own[name].dtype}"
                )
            bad = ~tensor.isfinite() if name in parameters else tensor.isnan()
            if finite and bad.any():
                raise CheckpointError(
                    f"{name} is not finite in {int(bad.sum()):,} of {bad.numel():,} values"
                )
        module.load_state_dict(state)
    except (RuntimeError, AttributeError) as error:  # the latter where there should be a tensor
        raise CheckpointError(f"is not of this model: {error}") from error


def _kind(tensor: Tensor) -> tuple[bool, bool]:
    return tensor.is_floating_point(), tensor.is_complex()


class _Digest:
    """A write-only file that digests what passes through."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        return self.file.write(data)

    def flush(self) -> None:
        self.file.flush()


class AtomicCheckpointIO(CheckpointIO):
    """Lightning's plug-in point for reading and writing checkpoint files.

    Args:
        retained: by folder, which of its checkpoints stay when one is added; of others all.
    """

    def __init__(self, retained: Mapping[Path, Retained] | None = None) -> None:
        self.retained = retained or {}

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as file:
                digest = _Digest(file)
                torch.save(checkpoint, cast(IO[bytes], digest))
            before = Progress(**checkpoint.get("before", {}))
            entry = Entry(
                path.name,
                digest.sha256.hexdigest(),
                before.steps + checkpoint["global_step"],
                before.epochs + checkpoint["epoch"],
                checkpoint.get("metrics", {}),
                before,
            )
            Manifest(path.parent).add(entry, self.retained.get(path.parent))
        except (OSError, RuntimeError) as error:  # torch wraps a failing write in a RuntimeError
            raise CheckpointError(
                f"{path}: the checkpoint cannot be written ({error}); earlier ones are untouched. "
                f"Make room or choose another folder (paths.runs=…), then continue this run"
            ) from error

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
