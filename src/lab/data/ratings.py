"""Ratings of items by users: vocabularies, parts, and the baseline that every model must beat."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lab.data.loader import TensorDataModule
from lab.data.splits import Indices
from lab.errors import DataError

UNKNOWN = 0  # index of a user or an item that no training row has


@dataclass(frozen=True)
class RatingTable:
    """A rating a row: ids int64, ratings float32, each of shape (rows,); and item id -> title."""

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    ratings: NDArray[np.float32]
    titles: dict[int, str]

    def __post_init__(self) -> None:
        """Raises DataError for what no model can be fitted to."""
        if not len(self.users) == len(self.items) == len(self.ratings):
            raise DataError("ratings: users, items and ratings differ in their number of rows")
        bad = np.flatnonzero(~np.isfinite(self.ratings))
        if len(bad):
            raise DataError(
                f"ratings: row {bad[0]} has rating {self.ratings[bad[0]]}; "
                f"{len(bad)} of {len(self.ratings)} are not finite; remove or mend them"
            )


class RatingsDataModule(TensorDataModule):
    """Batches are ``(user index, item index, rating)``; index 0 is whatever training has not seen.

    A subclass gives the table and the split. Vocabularies are fitted on the training part alone.
    """

    item_keys: Sequence[str]  # of each row of the table, what counts as one item

    def load_table(self) -> tuple[RatingTable, str]:
        """The ratings and where they came from."""
        raise NotImplementedError

    def split_rows(self, table: RatingTable) -> dict[str, Indices]:
        """Row numbers of "train", "test", and "val" where there is one."""
        raise NotImplementedError

    def item_key_column(self, table: RatingTable) -> NDArray[Any]:
        """What makes two rows rate the same item; its id, unless a subclass says otherwise."""
        return table.items

    def item_name(self, key: Any, table: RatingTable) -> str:
        return table.titles.get(int(key), f"item {key}")

    def setup(self, stage: str) -> None:
        if self.parts:
            return
        table, self.source = self.load_table()
        self.rows = self.split_rows(table)
        keys = self.item_key_column(table)
        train = self.rows["train"]
        if len(train) == 0 or len(self.rows["test"]) == 0:
            raise DataError(f"{type(self).__name__}: the split leaves no training or no test rows")
        self.user_ids = np.unique(table.users[train])
        self.item_ids = np.unique(keys[train])
        self.user_names = ["unknown", *map(str, self.user_ids)]
        self.item_names = ["unknown", *(self.item_name(k, table) for k in self.item_ids)]
        users, items = self.encode(table.users, keys)
        for part, rows in self.rows.items():
            self.parts[part] = (
                torch.from_numpy(users[rows]),
                torch.from_numpy(items[rows]),
                torch.from_numpy(table.ratings[rows]),
            )
        test = self.rows["test"]
        self._test_columns = {
            "user": table.users[test].tolist(),
            "item": table.items[test].tolist(),
            "title": [table.titles.get(int(i), f"item {i}") for i in table.items[test]],
            "rating": table.ratings[test].tolist(),
        }
        counts = np.bincount(items[train], minlength=len(self.item_names))
        sums = np.bincount(items[train], table.ratings[train], minlength=len(self.item_names))
        self.item_rating_count = counts
        self.item_mean_rating = sums / np.maximum(counts, 1)

    def encode(self, users: NDArray[Any], items: NDArray[Any]) -> tuple[Indices, Indices]:
        """Indices of raw user ids and item keys; 0 for what training has not seen."""
        return _index_in(self.user_ids, users), _index_in(self.item_ids, items)

    @property
    def sizes(self) -> dict[str, int]:
        """The unknown user and the unknown item included."""
        return {"n_users": len(self.user_names), "n_items": len(self.item_names)}

    def summary(self) -> str:
        rows = ", ".join(f"{len(r):,} {part}" for part, r in self.rows.items())
        return (
            f"{self.title()}: {rows} ratings of {len(self.item_ids):,} items "
            f"by {len(self.user_ids):,} users (from {self.source})"
        )

    def title(self) -> str:
        return type(self).__name__

    def test_table(self) -> dict[str, Sequence[Any]]:
        return self._test_columns

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
    """μ, b_u, b_i of rating = μ + b_u + b_i, by alternating damped means (Koren 2010, section 2.1).

    b_i = Σ_u (r - μ - b_u) / (item_damping + n_i), and likewise b_u; unseen ones stay 0.
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
    place = np.searchsorted(vocabulary, keys).clip(max=len(vocabulary) - 1)
    return np.where(vocabulary[place] == keys, place + 1, UNKNOWN).astype(np.int64)
