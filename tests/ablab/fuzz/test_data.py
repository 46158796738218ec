"""Files and tables of data: damaged, empty, of one class or one user, with ids of any size."""

import contextlib
import gzip
import io
import struct
import tempfile
import zipfile
from pathlib import Path
from typing import Any

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
from ablab.data.tables.own_file import Table
from ablab.errors import DataError, UserError
from tests.ablab.fuzz.cases import damaged, examples, odd_leaf

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


@given(damaged(_npy()))
@examples(80)
def test_a_cache_of_images(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "a.npy"
        path.write_bytes(content)
        images = _read_cache(path, (2, 3, 4, 4))
        assert images is None or images.shape == (2, 3, 4, 4)


@given(st.sampled_from([b"1,2\n" * 20, gzip.compress(b"1,2\n" * 20)]).flatmap(damaged))
@examples(200)
def test_a_file_that_may_be_compressed(content: bytes) -> None:
    with contextlib.suppress(DataError):
        assert len(gunzipped(content, 1000)) <= 1000


def test_a_cache_that_says_it_is_huge_is_no_cache(tmp_path: Path) -> None:
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (10000000000000000,), }"
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header
    (tmp_path / "a.npy").write_bytes(content)
    assert _read_cache(tmp_path / "a.npy", (2, 3, 4, 4)) is None
