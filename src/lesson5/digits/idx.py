"""The idx format of MNIST: a magic number, the dimensions in 32 bits each, the bytes."""

import struct

import numpy as np
from numpy.typing import NDArray

from ablab.errors import DataError


def parse_idx(content: bytes, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The array of ``shape`` in an uncompressed idx file of unsigned bytes.

    Raises:
        DataError: another format, another shape, or too few or too many bytes.
    """
    header = idx_header(shape)
    if content[:4] != header[:4]:
        raise DataError(
            f"is no idx file of {len(shape)}-dimensional bytes (it begins with "
            f"{content[:4].hex()} instead of {header[:4].hex()})"
        )
    if len(content) != idx_size(shape):
        raise DataError(f"is not whole: {len(content):,} bytes instead of {idx_size(shape):,}")
    if content[: len(header)] != header:
        found = struct.unpack(f">{len(shape)}I", content[4 : len(header)])
        raise DataError(f"has shape {found} instead of {shape}")
    return np.frombuffer(content, np.uint8, offset=len(header)).reshape(shape)


def idx_header(shape: tuple[int, ...]) -> bytes:
    """Two zero bytes, 8 for unsigned bytes, the number of dimensions; then each as 32 bits."""
    return struct.pack(f">2xBB{len(shape)}I", 8, len(shape), *shape)


def idx_size(shape: tuple[int, ...]) -> int:
    """Bytes of the whole uncompressed file."""
    return len(idx_header(shape)) + int(np.prod(shape))
