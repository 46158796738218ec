"""MovieLens-100K (Harper & Konstan 2015): 100,000 ratings, and where to download them."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ablab.data.files.dataset import Dataset, Files, Source, read_file
from ablab.data.files.download import http_zip_members, wheel_members, zip_members
from ablab.errors import DataError

RATINGS = "ratings.int32"  # user, item, rating and timestamp of each row of u.data, in its order
TITLES = "titles.tsv"  # number and title of each movie
MEMBERS = ["ml-100k/u.data", "ml-100k/u.item"]
URL = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
MAX_BYTES = 20_000_000  # the archive has 4.9 MB
RECBOLE = "1.2.1"

Canonical = NDArray[np.int32]  # (100000, 4)


def load_movielens(root: Path) -> tuple[Canonical, dict[int, str], str]:
    """Return the ratings, the titles by item number, and where they came from.

    Raises:
        DataError: no source has them, or ``root`` cannot be written.
    """
    files, source = MOVIELENS.fetch(root)
    table = np.frombuffer(files[RATINGS], "<i4").reshape(-1, 4)
    lines = (line.split("\t", 1) for line in files[TITLES].decode().split("\n") if line)
    return table, {int(number): title for number, title in lines}, source


def _sources(root: Path) -> list[Source]:
    return [
        Source(f"a local copy in {root}", lambda: _local(root)),
        Source("GroupLens", _grouplens),
        Source(f"the copy inside the recbole {RECBOLE} wheel", _recbole),
    ]


def _local(root: Path) -> Files:
    archive = root / "ml-100k.zip"
    if archive.is_file():
        return _from_grouplens(*zip_members(archive, MEMBERS))
    return _from_grouplens(*(read_file(root / member) for member in MEMBERS))


def _grouplens() -> Files:
    return _from_grouplens(*http_zip_members(URL, MEMBERS, max_bytes=MAX_BYTES))


def _recbole() -> Files:
    base = "recbole/dataset_example/ml-100k/ml-100k"
    inter, item = wheel_members("recbole", RECBOLE, [f"{base}.inter", f"{base}.item"])
    titles = {}
    try:
        for line in item.decode("utf-8").splitlines()[1:]:
            number, title, year, _ = line.split("\t")
            # RecBole took the last parenthesis off as the year; movie 267 has no title either
            titles[int(number)] = "unknown" if year == "unkonwn" else f"{title} ({year})"
    except ValueError as error:
        raise DataError(f"its list of movies is damaged ({error})") from error
    return _files(inter.partition(b"\n")[2], titles)


def _from_grouplens(data: bytes, item: bytes) -> Files:
    try:
        fields = [line.split("|", 2) for line in item.decode("latin-1").splitlines()]
        titles = {int(number): title for number, title, _ in fields}
    except ValueError as error:
        raise DataError(f"u.item is damaged ({error})") from error
    return _files(data, titles)


def _files(rows: bytes, titles: dict[int, str]) -> Files:
    try:
        numbers = np.array(list(map(int, rows.split())), "<i4")
    except (ValueError, OverflowError) as error:
        raise DataError(f"the ratings are damaged ({error})") from error
    if len(numbers) % 4:
        raise DataError("the ratings are damaged (a row should have four numbers)")
    untitled = set(numbers[1::4].tolist()) - set(titles)
    if untitled:
        raise DataError(f"the list of movies is cut short: {len(untitled)} have no title")
    lines = "".join(f"{number}\t{title}\n" for number, title in titles.items())
    return {RATINGS: numbers.tobytes(), TITLES: lines.encode()}


MOVIELENS = Dataset(
    title="MovieLens-100K",
    description="MovieLens-100K: 100,000 ratings of 1,682 movies by 943 users",
    terms="research use, no redistribution (GroupLens)",
    folder="movielens-100k",
    sha256={
        RATINGS: "9d7589acad0910f4212cfdfd56933ec74066c8fe7a9caf847cb404b7f7a3ccd4",
        TITLES: None,  # GroupLens' have other white space than RecBole's
    },
    sources=_sources,
    remedy="put GroupLens' ml-100k.zip, or its folder ml-100k, into {root}",
)
