"""Files and tables of data: damaged, empty, of one class or one user, with ids of any size."""

import contextlib
import gzip
import io
import struct
import tempfile
import zipfile
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ablab.data.files.download import gunzipped, zip_members
from ablab.data.images.files import _read_cache
from ablab.data.images.folder import ImageFolder
from ablab.data.module import TensorDataModule
from ablab.data.splits import hold_out
from ablab.data.tables.own_file import Table
from ablab.errors import DataError, UserError
from lesson5.digits.idx import idx_header, parse_idx
from lesson5.digits.mnist_source import CSV_5K, IDX_FILES, _local_5k, _local_idx
from lesson5.ratings import movielens_source
from lesson5.ratings.module import RatingsDataModule, RatingTable
from tests.ablab.fuzz.cases import damaged, examples, odd_leaf, odd_text

_FRACTIONS: dict[str, Any] = {"test_fraction": 0.3, "validation_fraction": 0.0}


def use(data: TensorDataModule) -> None:
    """What a run does with its data; raises a UserError, or gives batches that can be learned."""
    data.configure(batch_size=2, eval_batch_size=2, split_seed=0)
    data.setup("fit")
    data.summary()
    data.baselines()
    batch = next(iter(data.train_loader()))
    assert all(torch.isfinite(t).all() for t in batch if t.is_floating_point())
    assert len({len(column) for column in data.test_table().values()}) <= 1
    for key, size in data.sizes.items():
        assert np.all(np.asarray(size) >= 0), key


# -- ratings ---------------------------------------------------------------------------------------

_ids = st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(0, 3))
_rating = st.one_of(st.floats(width=32), st.integers(1, 5).map(float))


class Given(RatingsDataModule):
    """Ratings as they come."""

    def __init__(self, rows: list[tuple[int, int, float]]) -> None:
        super().__init__()
        self.configure(batch_size=2, eval_batch_size=2)
        self.given = rows

    def load_table(self) -> tuple[RatingTable, str]:
        users, items, ratings = zip(*self.given, strict=True) if self.given else ((), (), ())
        columns = np.array(users, np.int64), np.array(items, np.int64)
        return RatingTable(*columns, np.array(ratings, np.float32), {}), "a list"

    def split_rows(self, table: RatingTable) -> dict[str, Any]:
        train, test = hold_out(np.arange(len(table.ratings)), 0.3, 0)
        return {"train": train, "test": test}


@given(st.lists(st.tuples(_ids, _ids, _rating), max_size=12))
@examples(150)
def test_ratings_of_any_ids(rows: list[tuple[int, int, float]]) -> None:
    with contextlib.suppress(DataError):
        use(Given(rows))


_field = st.one_of(st.integers(-1, 2000).map(str), odd_text)
_line = st.lists(_field, min_size=1, max_size=5).map("\t".join)
_item_line = st.tuples(st.integers(0, 3), odd_text).map(lambda pair: f"{pair[0]}|{pair[1]}|01-Jan")


@given(
    st.lists(_line, max_size=4).map("\n".join),
    st.lists(st.one_of(_item_line, odd_text), max_size=4).map("\n".join),
    st.booleans(),
    st.sampled_from(["latin-1", "utf-8", "utf-16"]),
)
@examples(150)
def test_a_copy_of_movielens(rows: str, items: str, trusted: bool, encoding: str) -> None:
    table = np.array([[1, 1, 5, 0], [1, 2, 3, 0]], "<i4")
    with tempfile.TemporaryDirectory() as place:
        local = Path(place) / "ml-100k"
        local.mkdir()
        (local / "u.data").write_bytes(rows.encode(encoding, "replace"))
        (local / "u.item").write_bytes(items.encode(encoding, "replace"))
        verified = mock.patch.object(movielens_source, "_verified", return_value=table)
        digest = mock.patch.object(
            movielens_source, "_sha256", return_value=movielens_source.SHA256
        )
        try:
            if not trusted:
                movielens_source._local(Path(place))
                raise AssertionError("four rows passed for all of MovieLens")
            with verified, digest:  # so that the titles come into play
                raw = movielens_source._local(Path(place))
                movielens_source._write_cache(Path(place) / "cache", raw)
                again = movielens_source._read_cache(Path(place) / "cache")
                assert again is not None
                assert again[1] == raw[1]
        except DataError:
            return


# -- tables ----------------------------------------------------------------------------------------

_names = st.lists(st.sampled_from(["a", "b", "y", "", "a,b", '"', "=1"]), min_size=1, max_size=4)
_cell = st.one_of(st.integers(-3, 3), st.floats(), st.sampled_from(["", "NA", "x", "1e400"]))


@st.composite
def csv_file(draw: st.DrawFn) -> bytes:
    names = draw(_names)
    rows = st.lists(st.one_of(_cell, odd_leaf), min_size=len(names), max_size=len(names))
    lines = [names, *draw(st.lists(rows, max_size=9))]
    text = "\n".join(",".join(map(str, line)) for line in lines)
    content = text.encode(draw(st.sampled_from(["utf-8", "latin-1", "utf-16"])), "replace")
    return draw(damaged(content))


@given(
    csv_file(),
    st.sampled_from(["y", "a", ""]),
    st.sampled_from([",", ";", "\t", '"', "\n", "0", "#"]),
    st.sampled_from(["random", "last"]),
    st.sampled_from([None, [], ["a"], ["b", "b"], ["nothing"]]),
    st.sampled_from([None, [], ["a"], ["b", "b"]]),
    st.sampled_from([0.0, 0.3, 0.9]),
)
@examples(300)
def test_a_csv_file(
    content: bytes,
    target: str,
    separator: str,
    split: Any,
    categorical: list[str] | None,
    continuous: list[str] | None,
    fraction: float,
) -> None:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "table.csv"
        path.write_bytes(content)
        settings = _FRACTIONS | {"validation_fraction": fraction, "separator": separator}
        settings |= {"categorical": categorical, "continuous": continuous}
        try:
            use(Table(str(path), target, split, **settings))
        except UserError:
            return


def _parquet() -> bytes:
    file = io.BytesIO()
    pl.DataFrame({"a": [1, 2, 3, 4], "w": ["u", "v", "u", "v"], "y": [1.0, 2, 3, 5]}).write_parquet(
        file
    )
    return file.getvalue()


@given(damaged(_parquet()))
@examples(150)
def test_a_parquet_file(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "table.parquet"
        path.write_bytes(content)
        try:
            use(Table(str(path), "y", "random", **_FRACTIONS))
        except UserError:
            return


# -- images ----------------------------------------------------------------------------------------


def _picture(form: str) -> bytes:
    file = io.BytesIO()
    pixels = np.arange(6 * 5 * 3, dtype=np.uint8).reshape(6, 5, 3)
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


_PICTURES = [_picture(form) for form in ("PNG", "JPEG", "GIF", "WEBP")]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ants", "bees", "train/ants", "test/bees", "val/ants", ".hidden"]),
            st.sampled_from(_PICTURES).flatmap(damaged),
        ),
        max_size=6,
    ),
    st.sampled_from(["png", "jpg", "txt"]),
)
@examples(80)
@pytest.mark.filterwarnings("default")
def test_a_folder_of_images(files: list[tuple[str, bytes]], ending: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "photos"
        root.mkdir()
        for number, (name, content) in enumerate(files):
            (root / name).mkdir(parents=True, exist_ok=True)
            (root / name / f"{number}.{ending}").write_bytes(content)
        data = ImageFolder(
            root=str(root), size=4, cache=str(root / "cache"), augmentation=None, **_FRACTIONS
        )
        try:
            use(data)
        except UserError:
            assert not list(root.rglob("*.part"))


# -- binary formats, archives, caches --------------------------------------------------------------

_IDX = idx_header((2, 3)) + bytes(range(6))


@given(st.sampled_from([_IDX, gzip.compress(_IDX)]).flatmap(damaged))
@examples(300)
def test_an_idx_file(content: bytes) -> None:
    try:
        array = parse_idx(gunzipped(content, 1000), (2, 3))
    except DataError:
        return
    assert array.shape == (2, 3)


@given(damaged(b"1,2,3\n4,5,6\n"), st.sampled_from(list(IDX_FILES)))
@examples(60)
def test_local_copies_of_mnist(content: bytes, name: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        (root / "mnist").mkdir()
        (root / "mnist" / name).write_bytes(content)
        (root / CSV_5K).write_bytes(content)
        with pytest.raises(DataError):
            _local_idx(root)
        with pytest.raises(DataError):
            _local_5k(root)


def _archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", b"1,2\n" * 20)
    return file.getvalue()


@given(damaged(_archive()))
@examples(250)
def test_an_archive(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "a.zip"
        path.write_bytes(content)
        for read in (lambda: b"".join(zip_members(path, ["a"], max_bytes=1000)),):
            try:
                assert len(read()) < 1000
            except DataError:
                continue


def _npy() -> bytes:
    file = io.BytesIO()
    np.save(file, np.zeros((2, 3, 4, 4), np.uint8))
    return file.getvalue()


@given(damaged(_npy()), damaged(b'{"a": "0123", "../b": "4567"}'))
@examples(80)
def test_caches(array: bytes, listed: bytes) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name in ("a.npy", "ratings.npy"):
            (folder / name).write_bytes(array)
        (folder / "titles.tsv").write_bytes(b"")
        (folder / "titles.tsv.sha256").write_bytes(b"0")
        images = _read_cache(folder / "a.npy", (2, 3, 4, 4))
        assert images is None or images.shape == (2, 3, 4, 4)
        assert movielens_source._read_cache(folder) is None


def test_a_cache_that_says_it_is_huge_is_no_cache(tmp_path: Path) -> None:
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (10000000000000000,), }"
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header
    (tmp_path / "a.npy").write_bytes(content)
    assert _read_cache(tmp_path / "a.npy", (2, 3, 4, 4)) is None
