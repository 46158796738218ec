"""Ratings of the size of MovieLens-25M and skewed alike, drawn from a known model, kept on disk."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ablab.config.schema import Count, Fraction, Seed, Text
from ablab.data.files.column_folder import ColumnFolder, Columns, read_or_write, row_chunks
from ablab.errors import DataError
from lesson5.ratings.large import LargeRatings

LEAST_RATINGS = 20  # of a user, as GroupLens has it
# set by hand, for a median of 71 ratings a user at a mean of 154, and 0.33 % for the first item
_ACTIVITY_SIGMA = 1.39  # of the logarithm of what is beyond the least
_POPULARITY_EXPONENT, _POPULARITY_OFFSET = 2.13, 342.0
_FACTORS = 8
_VERSION = 1  # of what is drawn


class LargeSyntheticRatings(LargeRatings):
    """Ratings from 0.5 to 5 in halves: 3.5 + b_u + b_i + p_u · q_i + noise, rounded.

    Users have 20 ratings and a log-normal number beyond; items are met by the law of Zipf and
    Mandelbrot, p ∝ 1 / (rank + 342)^2.13. Rows go by user. A user may meet an item again.

    Args:
        n_users, n_items, n_ratings: the size; ids run from 1.
        data_seed: of the ratings themselves.
        root, test_fraction, validation_fraction: as in ``LargeRatings``.
    """

    def __init__(
        self,
        root: Text,
        n_users: Count,
        n_items: Count,
        n_ratings: Count,
        test_fraction: Fraction,
        validation_fraction: Fraction,
        batch_size: Count,
        eval_batch_size: Count,
        split_seed: Seed,
        order_seed: Seed,
        data_seed: Seed = 0,
    ) -> None:
        super().__init__(
            root=root,
            test_fraction=test_fraction,
            validation_fraction=validation_fraction,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            split_seed=split_seed,
            order_seed=order_seed,
        )
        if n_ratings < LEAST_RATINGS * n_users:
            raise DataError(
                f"data.n_ratings: should be at least {LEAST_RATINGS * n_users:,}, "
                f"{LEAST_RATINGS} for each user (it is {n_ratings:,})"
            )
        self.n_users, self.n_items, self.n_ratings = n_users, n_items, n_ratings
        self.data_seed = data_seed

    def folder(self) -> Path:
        size = f"{self.n_ratings}-by-{self.n_users}-of-{self.n_items}"
        return self.root / "synthetic-ratings" / f"{size}-seed-{self.data_seed}-v{_VERSION}"

    def titles(self) -> dict[int, str]:
        return {i: f"Film {i} ({1900 + i % 100})" for i in range(1, self.n_items + 1)}

    def title(self) -> str:
        return f"{self.n_ratings:,} synthetic ratings"

    def fetch_columns(self) -> tuple[Columns, str]:
        return read_or_write(self.folder(), self._draw), f"data_seed {self.data_seed}"

    def _draw(self, folder: ColumnFolder) -> None:
        rows = self.n_ratings
        users = folder.add("user", "<i4", rows, self._users())
        items = folder.add("item", "<i4", rows, self._items())
        folder.add("rating", "<f4", rows, self._ratings(users, items))

    def _users(self) -> Iterator[NDArray[Any]]:
        """Each as often as they have ratings."""
        beyond = np.random.default_rng([self.data_seed, 0]).lognormal(
            0, _ACTIVITY_SIGMA, self.n_users
        )
        ends = np.cumsum(beyond) / beyond.sum() * (self.n_ratings - LEAST_RATINGS * self.n_users)
        ends = np.rint(ends).astype(np.int64) + LEAST_RATINGS * np.arange(1, self.n_users + 1)
        for rows in row_chunks(self.n_ratings):
            yield np.searchsorted(ends, np.arange(rows.start, rows.stop), side="right") + 1

    def _items(self) -> Iterator[NDArray[Any]]:
        random = np.random.default_rng([self.data_seed, 1])
        ranks = np.arange(1, self.n_items + 1)
        below = np.cumsum((ranks + _POPULARITY_OFFSET) ** -_POPULARITY_EXPONENT)
        for rows in row_chunks(self.n_ratings):
            draws = random.random(rows.stop - rows.start) * below[-1]
            yield np.minimum(np.searchsorted(below, draws, side="right"), self.n_items - 1) + 1

    def _ratings(self, users: NDArray[Any], items: NDArray[Any]) -> Iterator[NDArray[Any]]:
        random = np.random.default_rng([self.data_seed, 2])
        p, q = (
            random.normal(0, 0.4, (n + 1, _FACTORS)).astype(np.float32)
            for n in (self.n_users, self.n_items)
        )
        b_u, b_i = (random.normal(0, 0.4, n + 1) for n in (self.n_users, self.n_items))
        for rows in row_chunks(self.n_ratings):
            u, i = users[rows], items[rows]
            score = 3.5 + b_u[u] + b_i[i] + np.einsum("rk,rk->r", p[u], q[i])
            score += random.normal(0, 0.7, len(u))
            yield np.clip(np.rint(2 * score) / 2, 0.5, 5.0)
