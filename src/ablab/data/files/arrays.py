"""Read ``.npy`` files of unknown origin."""

from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray


def read_array(file: Path | IO[bytes]) -> NDArray[Any] | None:
    """Return the array of a ``.npy`` file, or None if it is missing, damaged or holds objects."""
    try:
        array = np.load(file, allow_pickle=False)
    except Exception:  # the header is Python code, and a damaged one raises any of its errors
        return None
    return array if isinstance(array, np.ndarray) else None  # np.load also opens zip files
