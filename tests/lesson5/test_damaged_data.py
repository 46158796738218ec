"""Ratings and files of the lesson's data: damaged, empty, with ids of any size."""

import contextlib
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ablab.data.splits import Indices, split_rows
from ablab.errors import DataError
from lesson5.digits.mnist_source import CSV_5K, IDX_SHA256, MNIST_5K, MNIST_70K
from lesson5.ratings.module import RatingsDataModule, RatingTable
from lesson5.ratings.movielens_source import MOVIELENS, TITLES
from tests.ablab.fuzz.cases import damaged, examples, odd_text

_ids = st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(0, 3))
_rating = st.one_of(st.floats(width=32), st.integers(1, 5).map(float))


class Given(RatingsDataModule):
    """Ratings as they come."""

    def __init__(self, rows: list[tuple[int, int, float]]) -> None:
        super().__init__()
        self.configure(batch_size=2, eval_batch_size=2, split_seed=0)
        self.given = rows

    def load_table(self) -> tuple[RatingTable, str]:
        users, items, ratings = zip(*self.given, strict=True) if self.given else ((), (), ())
        columns = np.array(users, np.int64), np.array(items, np.int64)
        return RatingTable(*columns, np.array(ratings, np.float32), {}), "a list"

    def split_rows(self, table: RatingTable) -> dict[str, Indices]:
        return split_rows(len(table.ratings), test_fraction=0.3, validation_fraction=0.0, seed=0)


@given(st.lists(st.tuples(_ids, _ids, _rating), max_size=12))
@examples(150)
def test_ratings_of_any_ids(rows: list[tuple[int, int, float]]) -> None:
    data = Given(rows)
    with contextlib.suppress(DataError):
        data.setup("fit")
        users, items, ratings = next(iter(data.train_loader()))
        assert torch.isfinite(ratings).all()
        assert (users < data.sizes["n_users"]).all()
        assert (items < data.sizes["n_items"]).all()
        assert len({len(column) for column in data.test_table().values()}) == 1
        assert data.baselines()


_rows = st.one_of(st.just("1\t2\t3\t0\n1\t1\t5\t0"), odd_text.map("1\t2\t3\t{}".format))
_item_line = st.tuples(st.integers(0, 3), odd_text).map(lambda pair: f"{pair[0]}|{pair[1]}|01-Jan")


@given(
    _rows,
    st.lists(st.one_of(_item_line, odd_text), max_size=4).map("\n".join),
    st.sampled_from(["latin-1", "utf-8", "utf-16"]),
)
@examples(150)
def test_a_local_copy_of_movielens(rows: str, items: str, encoding: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        local = Path(place) / "ml-100k"
        local.mkdir()
        (local / "u.data").write_bytes(rows.encode("latin-1", "replace"))
        (local / "u.item").write_bytes(items.encode(encoding, "replace"))
        with contextlib.suppress(DataError):
            files = MOVIELENS.sources(Path(place))[0].fetch()
            assert {1, 2} <= {int(line.split("\t")[0]) for line in _lines(files[TITLES])}


def _lines(content: bytes) -> list[str]:
    return [line for line in content.decode().split("\n") if line]


@given(damaged(b"1,2,3\n4,5,6\n"), st.sampled_from(list(IDX_SHA256)))
@examples(60)
def test_local_copies_of_mnist(content: bytes, name: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        (root / "mnist").mkdir()
        (root / "mnist" / name).write_bytes(content)
        (root / CSV_5K).write_bytes(content)
        with pytest.raises(DataError):
            MNIST_70K.sources(root)[0].fetch()
        with contextlib.suppress(DataError):
            assert MNIST_5K.sources(root)[0].fetch()
