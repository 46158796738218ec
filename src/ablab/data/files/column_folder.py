"""Columns of numbers on disk, read by mapping them: as much of them is in memory as is in use.

A file ``NAME.npy`` a column, little-endian and without pickles, and ``columns.json``, which is
written last and has the sha256 of each.
"""

import hashlib
import io
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ablab.data.files.arrays import read_array
from ablab.errors import DataError
from ablab.safety.atomic_files import atomic_write, write_json

CHUNK = 1 << 19  # rows that are worked on at a time
_LIST = "columns.json"

Columns = Mapping[str, NDArray[Any]]


class ColumnFolder:
    """Columns that are written one after the other, from chunks, and then ``finish``\\ ed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._digests: dict[str, str] = {}

    def add(self, name: str, dtype: str, rows: int, chunks: Iterable[NDArray[Any]]) -> NDArray[Any]:
        """Write a column of ``rows`` and map it. Raises DataError if that cannot be done."""
        path = self.path / f"{name}.npy"
        header = io.BytesIO()
        layout = {"descr": dtype, "fortran_order": False, "shape": (rows,)}
        np.lib.format.write_array_header_1_0(header, layout)
        digest = hashlib.sha256(header.getvalue())
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as file:
                file.write(header.getvalue())
                for chunk in chunks:
                    content = np.ascontiguousarray(chunk, dtype).data
                    digest.update(content)
                    file.write(content)
        except OSError as error:
            raise DataError(
                f"{path}: cannot be written ({error.strerror}); make room or choose another "
                f"folder with paths.data=…"
            ) from error
        self._digests[name] = digest.hexdigest()
        return self._map(name)

    def finish(self) -> Columns:
        """List what was added, without which nothing is read; the columns, mapped."""
        write_json(self.path / _LIST, self._digests)
        return {name: self._map(name) for name in self._digests}

    def read(self) -> Columns | None:
        """The columns, mapped; None unless they are all there as they were written."""
        try:
            digests = json.loads((self.path / _LIST).read_text(encoding="utf-8"))
            if not isinstance(digests, dict) or any(Path(name).name != name for name in digests):
                return None
            if any(self._digest(name) != digest for name, digest in digests.items()):
                return None
        except (OSError, ValueError, RecursionError):
            return None
        columns: dict[str, NDArray[Any]] = {}
        for name in digests:
            array = read_array(self.path / f"{name}.npy", mapped=True)
            if array is None:
                return None
            columns[name] = array
        return columns

    def _digest(self, name: str) -> str:
        with (self.path / f"{name}.npy").open("rb") as file:  # not by mapping: it would stay
            return hashlib.file_digest(file, "sha256").hexdigest()

    def _map(self, name: str) -> NDArray[Any]:
        array = read_array(self.path / f"{name}.npy", mapped=True)
        assert array is not None, "it has just been written"
        return array


def read_or_write(path: Path, write: Callable[[ColumnFolder], None]) -> Columns:
    """The columns in ``path``, written before if they are not there or damaged."""
    folder = ColumnFolder(path)
    columns = folder.read()
    if columns is not None:
        return columns
    write(folder)
    return folder.finish()


def row_chunks(rows: int) -> Iterator[slice]:
    """Slices that cover ``rows``, of ``CHUNK`` each but for the last."""
    return (slice(k * CHUNK, min((k + 1) * CHUNK, rows)) for k in range(math.ceil(rows / CHUNK)))
