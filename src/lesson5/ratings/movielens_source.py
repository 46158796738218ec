"""MovieLens-100K (Harper & Konstan 2015): 100,000 ratings from 1 to 5, and where to have them.

Every source must give the same canonical table: user, item, rating and timestamp of each row of
``u.data``, in its order, as little-endian int32; its sha256 stands below.
"""

import hashlib
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ablab.data.files.arrays import read_array
from ablab.data.files.download import (
    Source,
    fetch_first,
    http_zip_members,
    wheel_members,
    zip_members,
)
from ablab.errors import DataError
from ablab.safety.atomic_files import atomic_write

SHA256 = "9d7589acad0910f4212cfdfd56933ec74066c8fe7a9caf847cb404b7f7a3ccd4"
URL = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
MAX_BYTES = 20_000_000  # the archive has 4.9 MB
ROWS = 100_000

Canonical = NDArray[np.int32]  # (100000, 4)
Raw = tuple[Canonical, dict[int, str]]


def cache_folder(root: Path) -> Path:
    return root / "movielens-100k"


def fetch(root: Path) -> tuple[Raw, str]:
    """The verified table and titles, from the cache in ``root`` or else from the first source.

    Raises:
        DataError: no source gives the table, or ``root`` cannot be written.
    """
    cached = _read_cache(cache_folder(root))
    if cached is not None:
        return cached, "the verified copy"
    raw, source = fetch_first(
        "MovieLens-100K",
        [
            Source(f"a local copy in {root}", lambda: _local(root)),
            Source("GroupLens", _grouplens),
            Source("the copy inside the recbole 1.2.1 wheel", _recbole),
        ],
        f"remedy: put GroupLens' ml-100k.zip, or its folder ml-100k, into {root}",
    )
    _write_cache(cache_folder(root), raw)
    return raw, source


def _local(root: Path) -> Raw:
    folder, archive = root / "ml-100k", root / "ml-100k.zip"
    try:
        if (folder / "u.data").is_file():
            return _from_grouplens(
                (folder / "u.data").read_bytes(), (folder / "u.item").read_bytes()
            )
        if archive.is_file():
            return _from_grouplens(*zip_members(archive, ["ml-100k/u.data", "ml-100k/u.item"]))
    except OSError as error:
        raise DataError(f"cannot be read ({error})") from error
    raise DataError("there is none")


def _grouplens() -> Raw:
    names = ["ml-100k/u.data", "ml-100k/u.item"]
    return _from_grouplens(*http_zip_members(URL, names, max_bytes=MAX_BYTES))


def _recbole() -> Raw:
    base = "recbole/dataset_example/ml-100k/ml-100k"
    inter, item = wheel_members("recbole", "1.2.1", [f"{base}.inter", f"{base}.item"])
    titles = {}
    try:
        for line in item.decode("utf-8").splitlines()[1:]:
            number, title, year, _ = line.split("\t")
            # RecBole took the last parenthesis off as the year; movie 267 has no title either
            titles[int(number)] = "unknown" if year == "unkonwn" else f"{title} ({year})"
    except ValueError as error:
        raise DataError(f"its list of movies is damaged ({error})") from error
    return _verified(inter.split(b"\n", 1)[1]), titles


def _from_grouplens(data: bytes, item: bytes) -> Raw:
    table = _verified(data)
    try:
        fields = [line.split("|", 2) for line in item.decode("latin-1").splitlines()]
        titles = {int(number): title for number, title, _ in fields}
    except ValueError as error:
        raise DataError(f"u.item is damaged ({error})") from error
    missing = set(np.unique(table[:, 1]).tolist()) - set(titles)
    if missing:
        raise DataError(f"u.item is cut short: {len(missing)} movies have no title")
    return table, titles


def _verified(rows: bytes) -> Canonical:
    if not rows.strip():
        raise DataError("the ratings are damaged (the file is empty)")
    try:
        table = np.loadtxt(io.BytesIO(rows), dtype=np.float64, delimiter="\t", ndmin=2)
    except ValueError as error:
        raise DataError(f"the ratings are damaged ({str(error).split(';')[0]})") from error
    if not np.isfinite(table).all():
        raise DataError("the ratings are damaged (a value is missing or not a number)")
    table = table.astype("<i4")
    if table.shape != (ROWS, 4):
        raise DataError(f"the ratings are not whole: {len(table):,} rows instead of {ROWS:,}")
    if _sha256(table) != SHA256:
        raise DataError("the ratings are not those of MovieLens-100K (their sha256 differs)")
    return table


def _sha256(table: Canonical) -> str:
    return hashlib.sha256(np.ascontiguousarray(table, dtype="<i4").tobytes()).hexdigest()


def _read_cache(folder: Path) -> Raw | None:
    try:
        content = (folder / "titles.tsv").read_bytes()
        told = (folder / "titles.tsv.sha256").read_text(encoding="ascii")
    except (OSError, ValueError):
        return None
    table = read_array(folder / "ratings.npy")
    if table is None or table.dtype.kind not in "iu":
        return None
    if _sha256(table) != SHA256 or hashlib.sha256(content).hexdigest() != told:
        return None
    lines = (line.split("\t", 1) for line in content.decode("utf-8").split("\n") if line)
    return table, {int(number): title for number, title in lines}


def _write_cache(folder: Path, raw: Raw) -> None:
    table, titles = raw
    content = "".join(f"{number}\t{title}\n" for number, title in titles.items()).encode()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(folder / "titles.tsv") as file:
            file.write(content)
        with atomic_write(folder / "titles.tsv.sha256") as file:
            file.write(hashlib.sha256(content).hexdigest().encode())
        with atomic_write(folder / "ratings.npy") as file:
            np.save(file, table, allow_pickle=False)
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be written ({error.strerror}); make room or choose another folder "
            f"with paths.data=…"
        ) from error
