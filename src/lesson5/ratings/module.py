"""Ratings of items by users: vocabularies, parts, and the baseline that every model must beat."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ablab.data.module import TensorDataModule
from ablab.data.splits import Indices
from ablab.errors import DataError

UNKNOWN = 0  # index of a user or an item that no training row has


@dataclass(frozen=True)
class RatingTable:
    """A rating in each row.

    Attributes:
        users, items: ids, integers (rows,).
        ratings: float32 (rows,).
        titles: of the items, by id.

    Raises:
        DataError: the columns differ in length, or a rating is not finite.
    """

    users: NDArray[Any]
    items: NDArray[Any]
    ratings: NDArray[np.float32]
    titles: dict[int, str]

    def __post_init__(self) -> None:
        if not len(self.users) == len(self.items) == len(self.ratings):
            raise DataError("ratings: users, items and ratings differ in their number of rows")
        bad = np.flatnonzero(~np.isfinite(self.ratings))
        if len(bad):
            raise DataError(
                f"ratings: row {bad[0]} has rating {self.ratings[bad[0]]}; "
                f"{len(bad)} of {len(self.ratings)} are not finite; remove or correct them"
            )

    def title(self, item: int) -> str:
        return self.titles.get(item, f"item {item}")


class RatingsDataModule(TensorDataModule):
    """Batches are ``(user index, item index, rating)``; index 0 is whatever training has not seen.

    A subclass gives the table and the split. The vocabularies are fitted on the training part
    alone.

    Attributes:
        user_names, item_names: by index, after ``setup``.
        item_rating_count, item_mean_rating: of the training part, by index, after ``setup``.
    """

    def load_table(self) -> tuple[RatingTable, str]:
        """Return the ratings and where they came from."""
        raise NotImplementedError

    def split_rows(self, table: RatingTable) -> dict[str, Indices]:
        """Return the row numbers of "train", "test", and "val" where there is one."""
        raise NotImplementedError

    def item_keys(self, table: RatingTable) -> NDArray[Any]:
        """Return a key for each row; rows of the same key rate the same item."""
        return table.items

    def item_name(self, key: Any, table: RatingTable) -> str:
        """Return the title of the item with this key."""
        return table.title(int(key))

    def setup(self, stage: str) -> None:
        """Fill ``parts``. Raises DataError if the split leaves no training or no test rows."""
        if self.parts:
            return
        self.table, self.source = self.load_table()
        table, keys = self.table, self.item_keys(self.table)
        self.rows = self.split_rows(table)
        train = self.rows["train"]
        if len(train) == 0 or len(self.rows["test"]) == 0:
            raise DataError(f"{type(self).__name__}: the split leaves no training or no test rows")
        self.user_ids, self.item_ids = np.unique(table.users[train]), np.unique(keys[train])
        self.user_names = ["unknown", *map(str, self.user_ids)]
        self.item_names = ["unknown", *(self.item_name(key, table) for key in self.item_ids)]
        users, items = self.encode(table.users, keys)
        for part, rows in self.rows.items():
            columns = users[rows], items[rows], table.ratings[rows]
            self.parts[part] = tuple(torch.from_numpy(column) for column in columns)
        n_items = len(self.item_names)
        self.item_rating_count = np.bincount(items[train], minlength=n_items)
        sums = np.bincount(items[train], table.ratings[train], minlength=n_items)
        self.item_mean_rating = sums / np.maximum(self.item_rating_count, 1)

    def encode(self, users: NDArray[Any], items: NDArray[Any]) -> tuple[Indices, Indices]:
        """Return the indices of user ids and item keys; 0 for those that training has not seen."""
        return _index_in(self.user_ids, users), _index_in(self.item_ids, items)

    @property
    def sizes(self) -> dict[str, int]:
        """The numbers of users and items, the unknown ones included."""
        return {"n_users": len(self.user_names), "n_items": len(self.item_names)}

    def summary(self) -> str:
        rows = ", ".join(f"{len(of):,} {part}" for part, of in self.rows.items())
        return (
            f"{self.title()}: {rows} ratings of {len(self.item_names) - 1:,} items "
            f"by {len(self.user_names) - 1:,} users (from {self.source})"
        )

    def title(self) -> str:
        """Return the name of the data in the summary."""
        return type(self).__name__

    def test_table(self) -> dict[str, Sequence[Any]]:
        table, test = self.table, self.rows["test"]
        items = table.items[test].tolist()
        return {
            "user": table.users[test].tolist(),
            "item": items,
            "title": [table.title(item) for item in items],
            "rating": table.ratings[test].tolist(),
        }

    def baselines(self) -> dict[str, dict[str, float]]:
        users, items, ratings = (t.numpy() for t in self.parts["train"])
        mean, user_bias, item_bias = fit_biases(users, items, ratings, **self.sizes)
        low, high = float(ratings.min()), float(ratings.max())
        users, items, ratings = (t.numpy() for t in self.parts["test"])
        error = np.clip(mean + user_bias[users] + item_bias[items], low, high) - ratings
        rmse, mae = float(np.sqrt(np.mean(error**2))), float(np.mean(np.abs(error)))
        return {"bias-only": {"rmse": rmse, "mae": mae}}


def fit_biases(
    users: Indices,
    items: Indices,
    ratings: NDArray[np.float32],
    *,
    n_users: int,
    n_items: int,
    user_damping: float = 5.0,
    item_damping: float = 2.0,
    passes: int = 10,
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Return μ, b_u (n_users,) and b_i (n_items,) of rating = μ + b_u + b_i.

    They are fitted by alternating damped means (Koren 2010, section 2.1):
    b_i = Σ_u (r - μ - b_u) / (item_damping + n_i), and likewise b_u. Those without a row stay 0.
    """
    mean = float(ratings.mean(dtype=np.float64))
    user_bias, item_bias = np.zeros(n_users), np.zeros(n_items)
    user_weight = user_damping + np.bincount(users, minlength=n_users)
    item_weight = item_damping + np.bincount(items, minlength=n_items)
    for _ in range(passes):
        rest = ratings - mean - user_bias[users]
        item_bias = np.bincount(items, rest, minlength=n_items) / item_weight
        rest = ratings - mean - item_bias[items]
        user_bias = np.bincount(users, rest, minlength=n_users) / user_weight
    return mean, user_bias, item_bias


def _index_in(vocabulary: NDArray[Any], keys: NDArray[Any]) -> Indices:
    """Return 1 + the place of each key in the sorted ``vocabulary``, or 0 if it is not there."""
    place = np.searchsorted(vocabulary, keys).clip(max=len(vocabulary) - 1)
    return np.where(vocabulary[place] == keys, place + 1, UNKNOWN).astype(np.int64)
