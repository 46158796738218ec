"""A data set that can be fetched by name."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Dataset:
    """A data set: ``fetch(root)`` returns the data and their origin, and keeps them in
    ``folder(root)``."""

    description: str
    terms: str
    fetch: Callable[[Path], tuple[Any, str]]
    folder: Callable[[Path], Path]
