"""MovieLens-25M (Harper & Konstan 2015): 25,000,095 ratings from 0.5 to 5 in halves, by user.

There is one source, GroupLens' archive of 262 MB. Its md5 is the one that public repositories quote
as GroupLens'; neither the archive nor its md5 file was seen here. What is kept are columns of
numbers, and the titles.
"""

import hashlib
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ablab.data.files.column_folder import ColumnFolder, Columns
from ablab.data.files.download import Source, fetch_first, http_file, zip_member_lines, zip_members
from ablab.errors import DataError

URL = "https://files.grouplens.org/datasets/movielens/ml-25m.zip"
MD5 = "6b51fb2759a8657d3bfcbfc42b592ada"
MAX_BYTES = 300_000_000
_SECONDS = 3600.0  # for the download
_HEADER = b"userId,movieId,rating,timestamp"


def cache_folder(root: Path) -> Path:
    return root / "movielens-25m"


def fetch(root: Path) -> tuple[Columns, str]:
    """The columns ``user``, ``item``, ``rating``, ``title_item`` and ``titles``, and their source.

    Raises:
        DataError: no source gives the archive, or ``root`` cannot be written.
    """
    folder = ColumnFolder(cache_folder(root))
    columns = folder.read()
    if columns is not None:
        return columns, "the verified copy"
    return fetch_first(
        "MovieLens-25M",
        [
            Source(f"{root / 'ml-25m.zip'}", lambda: _local(root / "ml-25m.zip", folder)),
            Source("GroupLens", lambda: _grouplens(folder)),
        ],
        f"remedy: put GroupLens' ml-25m.zip into {root}, or use data=synthetic_25m",
    )


def titles(columns: Columns) -> dict[int, str]:
    """By movie id."""
    text = columns["titles"].tobytes().decode("utf-8").split("\n")
    return dict(zip(columns["title_item"].tolist(), text, strict=True))


def _local(archive: Path, folder: ColumnFolder) -> Columns:
    if not archive.is_file():
        raise DataError("there is none")
    return _columns(archive, folder)


def _grouplens(folder: ColumnFolder) -> Columns:
    with tempfile.TemporaryDirectory() as temporary:
        archive = Path(temporary) / "ml-25m.zip"
        http_file(URL, archive, max_bytes=MAX_BYTES, total=_SECONDS)
        return _columns(archive, folder)


def _columns(archive: Path, folder: ColumnFolder) -> Columns:
    try:
        with archive.open("rb") as file:
            found = hashlib.file_digest(file, "md5").hexdigest()
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})") from error
    if found != MD5:
        raise DataError(f"{archive.name} is not that of GroupLens (its md5 is {found}, not {MD5})")
    blocks = list(_rating_blocks(archive))
    rows = sum(len(block[0]) for block in blocks)
    for index, (name, dtype) in enumerate((("user", "<i4"), ("item", "<i4"), ("rating", "<f4"))):
        folder.add(name, dtype, rows, (block[index] for block in blocks))
    movies, names = _movies(archive)
    text = np.frombuffer("\n".join(names).encode(), np.uint8)
    folder.add("title_item", "<i4", len(movies), [movies])
    folder.add("titles", "|u1", len(text), [text])
    return folder.finish()


def _rating_blocks(archive: Path) -> Iterator[tuple[NDArray[Any], ...]]:
    """users, movies, ratings of the blocks of ``ratings.csv``."""
    import polars as pl

    schema = {"user": pl.Int32, "item": pl.Int32, "rating": pl.Float32, "timestamp": pl.Int64}
    first = True
    for block in zip_member_lines(archive, "ml-25m/ratings.csv"):
        if first:
            header, _, block = block.partition(b"\n")
            first = False
            if header.strip() != _HEADER:
                raise DataError(f"ratings.csv begins with {header[:60]!r}, not with {_HEADER!r}")
        if not block.strip():
            continue
        try:
            table = pl.read_csv(block, has_header=False, schema=schema)
        except pl.exceptions.PolarsError as error:
            raise DataError(f"ratings.csv is damaged ({str(error).splitlines()[0]})") from error
        if any(table.null_count().row(0)):
            raise DataError("ratings.csv is damaged (a value is missing)")
        yield tuple(table[name].to_numpy() for name in ("user", "item", "rating"))


def _movies(archive: Path) -> tuple[NDArray[np.int32], list[str]]:
    import polars as pl

    (content,) = zip_members(archive, ["ml-25m/movies.csv"])
    try:
        table = pl.read_csv(io.BytesIO(content), schema_overrides={"movieId": pl.Int32})
        return table["movieId"].to_numpy(), table["title"].str.replace_all("\n", " ").to_list()
    except pl.exceptions.PolarsError as error:
        raise DataError(f"movies.csv is damaged ({str(error).splitlines()[0]})") from error
