"""Checkpoints that survive a kill in mid-write, and that never run code when they are read.

Each has a name of its own, ``manifest.json`` lists the complete ones with their sha256, and a
resumed run walks back to the newest one that verifies.
"""

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from ablab.errors import CheckpointError
from ablab.runs.checkpoint_files import read_tensors, verify, write_checkpoint
from ablab.safety.atomic_files import read_file, write_json
from ablab.safety.printable import relative

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """The finished phases, optimiser steps and epochs before the current phase of a run."""

    phase: int = 0
    steps: int = 0
    epochs: int = 0


# A plain file name: files that a manifest lists are read, and removed when they are old.
FileName = Annotated[str, Field(pattern=r"^\w[\w.=+-]*$")]


@dataclass(frozen=True)
class Entry:
    """A complete checkpoint and the metrics of its epoch.

    ``step`` and ``epoch`` count from the start of the run. ``before`` is the progress at the start
    of its phase or, once that phase has ended, at the start of the next one.
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
    """The list of complete checkpoints of a folder, oldest first, as ``manifest.json`` has it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "manifest.json"

    def entries(self) -> list[Entry]:
        """Return the list. Raises CheckpointError if the file cannot be read."""
        try:
            return _ENTRIES.validate_json(read_file(self.path), strict=True)["checkpoints"]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CheckpointError(f"{self.path}: cannot be read ({error.strerror})") from error
        except (ValueError, KeyError) as error:
            told = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
            raise CheckpointError(
                f"{self.path}: is not a list of checkpoints ({told}); put a copy of it back"
            ) from error

    def add(self, entry: Entry, retained: Retained | None = None) -> None:
        """Add a complete checkpoint to the list, and keep of all listed ones those ``retained``.

        The list is written once for both, since each write waits for the disk. Files are removed
        after it, so that no listed file is ever missing.
        """
        listed = [*(e for e in self.entries() if e.file != entry.file), entry]
        self.replace(listed, listed if retained is None else retained(listed))

    def replace(self, listed: list[Entry], kept: list[Entry]) -> None:
        """Make ``kept`` the list; remove the files of those ``listed`` that are not in it."""
        self._write(kept)
        for dropped in listed:
            if dropped not in kept:
                (self.folder / dropped.file).unlink(missing_ok=True)

    def end_phase(self, before_next: Progress) -> None:
        """Mark the newest checkpoint as the start of the next phase, if it was written there."""
        entries = self.entries()
        if entries and entries[-1].step == before_next.steps:
            self._write([*entries[:-1], replace(entries[-1], before=before_next)])

    def reopen_phase(self, at: Entry) -> None:
        """Let the only phase of a run continue from the checkpoint ``at``; remove later ones."""
        entries = self.entries()
        kept = entries[: [e.file for e in entries].index(at.file) + 1]
        self._write([replace(e, before=Progress()) for e in kept])
        for dropped in entries[len(kept) :]:
            (self.folder / dropped.file).unlink(missing_ok=True)

    def remove(self, file: str) -> None:
        self._write([e for e in self.entries() if e.file != file])

    def keep_weights(self, entry: Entry) -> str:
        """Keep only the weights of ``entry``, in a new file whose name is returned.

        All checkpoints are removed.

        Raises:
            CheckpointError: the checkpoint is damaged, or the new file cannot be written.
        """
        content = load_checkpoint(self.folder / entry.file)
        if "state_dict" not in content:
            raise CheckpointError(f"{self.folder / entry.file}: holds no weights")
        file = f"weights_{entry.file}"
        try:
            digest = write_checkpoint({"state_dict": content["state_dict"]}, self.folder / file)
        except (OSError, RuntimeError) as error:  # torch wraps a failing write in a RuntimeError
            raise CheckpointError(
                f"{self.folder / file}: cannot be written ({error}); make room, then try again"
            ) from error
        self.add(replace(entry, file=file, sha256=digest), lambda entries: entries[-1:])
        return file

    def keep_none(self) -> None:
        """Remove every checkpoint."""
        self.replace(self.entries(), [])

    def remove_unlisted(self) -> None:
        """Remove checkpoints of the run that are not in the list; others' files stay."""
        listed = {entry.file for entry in self.entries()}
        for path in self.folder.glob("*step=[0-9]*.ckpt"):
            if path.name not in listed:
                path.unlink()

    def best(self, monitor: str, mode: Literal["min", "max"]) -> Entry | None:
        return best_of(self.entries(), monitor, mode)

    def newest_that_verifies(
        self, accepts: Callable[[Entry], bool] = lambda entry: True
    ) -> Entry | None:
        """Return the newest undamaged checkpoint, or None; damaged ones are named in the log.

        Those that ``accepts`` refuses are passed over.

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
                continue
            if accepts(entry):
                return entry
        return None

    def _write(self, entries: list[Entry]) -> None:
        """Write the list. Raises CheckpointError if it cannot be written."""
        try:
            write_json(self.path, {"checkpoints": [asdict(e) for e in entries]})
        except OSError as error:
            raise CheckpointError(
                f"{relative(self.path)}: cannot be written ({error.strerror}); it is unchanged. "
                f"Make room, or make the disk writable, then continue this run"
            ) from error


def retained_of(
    entries: list[Entry], keep: int, monitor: str | None, mode: Literal["min", "max"]
) -> list[Entry]:
    """Return those of ``entries``, oldest first, that stay: the newest ``keep`` and the best."""
    best = best_of(entries, monitor, mode) if monitor else None
    return [*(e for e in entries[:-keep] if e == best), *entries[-keep:]]


def best_of(entries: list[Entry], monitor: str, mode: Literal["min", "max"]) -> Entry | None:
    """Return the entry with the best ``monitor``, the earlier one of two equals."""
    scored = [e for e in entries if math.isfinite(e.metrics.get(monitor, math.nan))]
    pick = min if mode == "min" else max
    return pick(scored, key=lambda e: e.metrics[monitor], default=None)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Return a verified checkpoint on the CPU, read with ``weights_only=True``.

    Raises:
        CheckpointError: it is not listed in its folder's manifest, is damaged, or holds more than
            tensors and plain values.
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


@contextmanager
def checkpoint_write_errors(path: Path) -> Iterator[None]:
    """Raise CheckpointError if the block cannot write the checkpoint ``path``."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # torch wraps a failing write in a RuntimeError
        raise CheckpointError(
            f"{relative(path)}: the checkpoint cannot be written ({error}); earlier ones are "
            f"untouched. Make room or choose another folder (paths.runs=…), then continue this run"
        ) from error
