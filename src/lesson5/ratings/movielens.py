"""MovieLens-100K and its splits."""

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ablab.config.schema import Fraction, Text
from ablab.data.splits import Indices, hold_out, with_validation
from lesson5.ratings.module import RatingsDataModule, RatingTable
from lesson5.ratings.movielens_source import MOVIELENS, load_movielens

FOLD_ROWS = 20_000
LESSON_SEED, LESSON_TEST_ROWS = 42, 10_000


class MovieLens100K(RatingsDataModule):
    """MovieLens-100K, with a random validation part or none.

    Args:
        root: folder of all data, where the verified copy is kept; GroupLens' ``ml-100k`` or
            ``ml-100k.zip`` may lie there.
        split: ``lesson`` (fastai lesson 4: 10 % of the merged rows, NumPy seed 42), ``random``
            (``test_fraction`` by ``split_seed``), or one of the official folds ``u1`` to ``u5``.
        test_fraction: share of all rows; for ``random`` only.
        validation_fraction: share of the training rows, drawn by ``split_seed``; 0 for none.
        item_key: what counts as one item: ``title`` as in the lesson (1,664), or ``id`` (1,682).
    """

    def __init__(
        self,
        root: Text,
        split: Literal["lesson", "random", "u1", "u2", "u3", "u4", "u5"],
        test_fraction: Fraction,
        validation_fraction: Fraction,
        item_key: Literal["title", "id"],
    ) -> None:
        super().__init__()
        self.root = Path(root)
        self.split = split
        self.test_fraction, self.validation_fraction = test_fraction, validation_fraction
        self.item_key = item_key

    def prepare_data(self) -> None:
        MOVIELENS.fetch(self.root)

    def load_table(self) -> tuple[RatingTable, str]:
        table, titles, source = load_movielens(self.root)
        users, items, ratings, _ = table.T
        ids = users.astype(np.int64), items.astype(np.int64)
        return RatingTable(*ids, ratings.astype(np.float32), titles), source

    def item_keys(self, table: RatingTable) -> NDArray[np.str_] | NDArray[np.int64]:
        if self.item_key == "id":
            return table.items
        return np.array([table.titles[int(i)] for i in table.items])

    def item_name(self, key: str | int, table: RatingTable) -> str:
        return str(key) if self.item_key == "title" else table.titles[int(key)]

    def split_rows(self, table: RatingTable) -> dict[str, Indices]:
        if self.split == "lesson":
            train, test = lesson_split(table.items)
        elif self.split == "random":
            rows = np.arange(len(table.ratings))
            train, test = hold_out(rows, self.test_fraction, self.split_seed)
        else:
            train, test = official_fold(int(self.split[1]), table.users, table.items)
        return with_validation(train, test, self.validation_fraction, self.split_seed)

    def title(self) -> str:
        return f"MovieLens-100K, split {self.split}"


def official_fold(number: int, users: Indices, items: Indices) -> tuple[Indices, Indices]:
    """Return the rows of ``u{number}.base`` and ``u{number}.test``, by GroupLens' ``mku.sh``.

    The test part is the ``number``-th fifth of ``u.data``, sorted by user and item.
    """
    test = np.arange((number - 1) * FOLD_ROWS, number * FOLD_ROWS)
    train = np.setdiff1d(np.arange(len(users)), test)
    return train, test[np.lexsort((items[test], users[test]))]


def lesson_split(items: Indices) -> tuple[Indices, Indices]:
    """Return the rows of the lesson's training and held-out parts, as libraries of 2019 drew them.

    pandas' merge with the titles grouped the rows by movie in order of first appearance; fastai
    then held out the first tenth of a NumPy permutation with seed 42.
    """
    _, first_row, inverse = np.unique(items, return_index=True, return_inverse=True)
    merged = np.argsort(first_row[inverse], kind="stable")
    drawn = np.random.RandomState(LESSON_SEED).permutation(len(items))
    return merged[drawn[LESSON_TEST_ROWS:]], merged[drawn[:LESSON_TEST_ROWS]]
