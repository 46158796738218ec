"""Digests that tell data from other data; they detect changes, not an attack."""

import zlib
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


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
