"""A data set that can be fetched by name."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Dataset:
    """``fetch(root)`` gives the data and says where it came from; ``folder(root)`` then has it."""

    description: str
    terms: str
    fetch: Callable[[Path], tuple[Any, str]]
    folder: Callable[[Path], Path]
