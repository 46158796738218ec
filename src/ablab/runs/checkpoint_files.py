"""Files of tensors: written atomically with their digest, and read without running code."""

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, cast

import torch
from torch import Tensor, nn

from ablab.errors import CheckpointError
from ablab.safety.atomic_files import atomic_write, refuse_special


def verify(path: Path, sha256: str) -> None:
    """Raise CheckpointError unless the file exists and has this digest."""
    try:
        refuse_special(path)
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    if found != sha256:
        raise CheckpointError(
            f"{path}: is damaged (its sha256 differs from the manifest's); put a copy of it back, "
            f"or train again"
        )


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
    """A write-only file that computes the sha256 of what is written."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        return self.file.write(data)

    def flush(self) -> None:
        self.file.flush()


def write_checkpoint(checkpoint: dict[str, Any], path: Path) -> str:
    """Write a checkpoint atomically; return its sha256. Raises OSError or RuntimeError."""
    with atomic_write(path) as file:
        digest = _Digest(file)
        torch.save(checkpoint, cast(IO[bytes], digest))
    return digest.sha256.hexdigest()
