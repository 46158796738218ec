"""Arrays in ``.npy`` files, which anybody may have put there."""

from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray


def read_array(file: Path | IO[bytes]) -> NDArray[Any] | None:
    """The array of a ``.npy`` file; None if there is none, or it is damaged or holds objects."""
    try:
        array = np.load(file, allow_pickle=False)
    except Exception:  # the header is Python's syntax; damaged, it raises what its parser does
        return None
    return array if isinstance(array, np.ndarray) else None  # of a zip file it is an archive
