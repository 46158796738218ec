"""Ratings of items by users: vocabularies, parts, and the baseline that every model must beat."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ablab.data.module import TensorDataModule
from ablab.data.splits import Indices
from ablab.errors import DataError

UNKNOWN = 0  # index of a user or an item that no training row has
_SUMMED_AT_ONCE = 1 << 22  # rows; more are summed up in parts, so that little memory is needed


@dataclass(frozen=True)
class RatingTable:
    """A rating a row: ids integers, ratings float32, each of shape (rows,); item id -> title."""

    users: NDArray[Any]
    items: NDArray[Any]
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


@dataclass(frozen=True)
class EncodedRatings:
    """Parts as columns (user index, item index, rating), by vocabularies of the training part."""

    user_ids: NDArray[Any]
    item_ids: NDArray[Any]
    parts: Mapping[str, Sequence[NDArray[Any]]]
    test_rows: Indices


class RatingsDataModule(TensorDataModule):
    """Batches are ``(user index, item index, rating)``; index 0 is whatever training has not seen.

    A subclass gives the table and the split. Vocabularies are fitted on the training part alone.
    """

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
        self._table = table
        encoded = self.encode_table(table)
        self._test_rows = encoded.test_rows
        self.user_ids, self.item_ids = encoded.user_ids, encoded.item_ids
        self.user_names = ["unknown", *map(str, self.user_ids)]
        self.item_names = ["unknown", *(self.item_name(k, table) for k in self.item_ids)]
        for part, columns in encoded.parts.items():
            self.parts[part] = tuple(torch.from_numpy(column) for column in columns)
        _, items, ratings = encoded.parts["train"]
        counts, sums = np.zeros(len(self.item_names), np.int64), np.zeros(len(self.item_names))
        for rows in _summed_together(len(items)):
            counts += np.bincount(items[rows], minlength=len(counts))
            sums += np.bincount(items[rows], ratings[rows], minlength=len(sums))
        self.item_rating_count = counts
        self.item_mean_rating = sums / np.maximum(counts, 1)

    def encode(self, users: NDArray[Any], items: NDArray[Any]) -> tuple[Indices, Indices]:
        """Indices of raw user ids and item keys; 0 for what training has not seen."""
        return index_in(self.user_ids, users), index_in(self.item_ids, items)

    def encode_table(self, table: RatingTable) -> EncodedRatings:
        """Raises DataError if the split leaves nothing to train on, or to test."""
        rows, keys = self.split_rows(table), self.item_key_column(table)
        train = rows["train"]
        if len(train) == 0 or len(rows["test"]) == 0:
            raise DataError(f"{type(self).__name__}: the split leaves no training or no test rows")
        user_ids, item_ids = np.unique(table.users[train]), np.unique(keys[train])
        users, items = index_in(user_ids, table.users), index_in(item_ids, keys)
        parts = {part: (users[of], items[of], table.ratings[of]) for part, of in rows.items()}
        return EncodedRatings(user_ids, item_ids, parts, rows["test"])

    @property
    def sizes(self) -> dict[str, int]:
        """The unknown user and the unknown item included."""
        return {"n_users": len(self.user_names), "n_items": len(self.item_names)}

    def summary(self) -> str:
        rows = ", ".join(f"{len(p[-1]):,} {name}" for name, p in self.parts.items())
        return (
            f"{self.title()}: {rows} ratings of {len(self.item_ids):,} items "
            f"by {len(self.user_ids):,} users (from {self.source})"
        )

    def title(self) -> str:
        return type(self).__name__

    def test_table(self) -> dict[str, Sequence[Any]]:
        table, test = self._table, self._test_rows
        items = table.items[test].tolist()
        return {
            "user": table.users[test].tolist(),
            "item": items,
            "title": [table.titles.get(item, f"item {item}") for item in items],
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
    """μ, b_u, b_i of rating = μ + b_u + b_i, by alternating damped means (Koren 2010, section 2.1).

    b_i = Σ_u (r - μ - b_u) / (item_damping + n_i), and likewise b_u; unseen ones stay 0.
    """
    mean = float(ratings.mean(dtype=np.float64))
    user_bias, item_bias = np.zeros(n_users), np.zeros(n_items)
    user_weight, item_weight = np.full(n_users, user_damping), np.full(n_items, item_damping)
    parts = list(_summed_together(len(ratings)))
    for rows in parts:
        user_weight += np.bincount(users[rows], minlength=n_users)
        item_weight += np.bincount(items[rows], minlength=n_items)

    def damped_mean(of: Indices, weight: NDArray[np.float64], others: Indices, bias: Any) -> Any:
        total = np.zeros_like(weight)
        for rows in parts:
            rest = ratings[rows] - mean - bias[others[rows]]
            total += np.bincount(of[rows], rest, minlength=len(total))
        return total / weight

    for _ in range(passes):
        item_bias = damped_mean(items, item_weight, users, user_bias)
        user_bias = damped_mean(users, user_weight, items, item_bias)
    return mean, user_bias, item_bias


def _summed_together(rows: int) -> Iterator[slice]:
    return (slice(k, k + _SUMMED_AT_ONCE) for k in range(0, rows, _SUMMED_AT_ONCE))


def index_in(vocabulary: NDArray[Any], keys: NDArray[Any]) -> Indices:
    """1 + the place of each key in the sorted ``vocabulary``; 0 for one that is not there."""
    place = np.searchsorted(vocabulary, keys).clip(max=len(vocabulary) - 1)
    return np.where(vocabulary[place] == keys, place + 1, UNKNOWN).astype(np.int64)
