"""Digests that tell data from other data; they detect changes, not an attack."""

import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities.data import sized_len
from torch import Tensor

from ablab.data.contract import NOT_FINGERPRINTED
from ablab.errors import DataError


def of_tensors(tensors: Iterable[Tensor]) -> dict[str, Any]:
    """Return the rows of ``tensors`` and the CRC-32 of all that they contain."""
    checksum, rows = 0, 0
    for tensor in tensors:
        rows = len(tensor)
        content = tensor.reshape(-1)
        if content.stride(0) != 1:  # a column, say
            content = torch.empty(content.shape, dtype=content.dtype).copy_(content)
        checksum = zlib.crc32(content.view(torch.uint8).numpy().data, checksum)
    return {"rows": rows, "crc32": f"{checksum:08x}"}


def of_dataset(dataset: Any) -> dict[str, Any]:
    """Return the rows of a data set, and a digest of what it is read from where that is known.

    It is known of tensors (``TensorDataset``), of files (a list ``files``, or ``samples`` as
    torchvision has them), and of a ``Subset`` of these. A method ``fingerprint`` that returns text
    comes before all of them.
    """
    rows = sized_len(dataset)
    if hasattr(dataset, "fingerprint"):
        return {"rows": rows, "fingerprint": str(dataset.fingerprint())}
    if hasattr(dataset, "tensors"):
        return of_tensors(dataset.tensors)
    if hasattr(dataset, "files"):
        return {"rows": rows, "files": of_files(dataset.files)}
    if hasattr(dataset, "samples"):
        return {"rows": rows, "files": of_files([path for path, *_ in dataset.samples])}
    if hasattr(dataset, "indices") and hasattr(dataset, "dataset"):
        chosen = of_tensors([torch.as_tensor(dataset.indices)])
        whole = of_dataset(dataset.dataset)
        return {**whole, "rows": rows, "chosen": chosen["crc32"]}
    return {"rows": rows, "fingerprint": NOT_FINGERPRINTED}


def of_files(files: Sequence[Path | str]) -> str:
    """Return a digest of the files' names below the folder that they share, sizes and times.

    Raises:
        DataError: a file cannot be looked at.
    """
    paths = [Path(file) for file in files]
    root = os.path.commonpath([path.parent for path in paths]) if paths else ""
    try:
        listed = [
            (str(path.relative_to(root)), (stat := path.stat()).st_size, stat.st_mtime_ns)
            for path in paths
        ]
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror})") from error
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()[:16]
