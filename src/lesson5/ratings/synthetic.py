"""Drawn ratings, of any size: a few items have most of them. They need no download."""

import numpy as np

from ablab.config.schema import Count, Fraction, Seed
from ablab.data.splits import Indices, split_rows
from lesson5.ratings.module import RatingsDataModule, RatingTable


class SyntheticRatings(RatingsDataModule):
    """Ratings from 1 to 5: round(3.5 + b_u + b_i + p_u · q_i + noise), items drawn by Zipf's law.

    Args:
        n_users, n_items, n_ratings: the size; ids run from 1.
        test_fraction: share of all rows.
        validation_fraction: share of the other rows; 0 for none.
        data_seed: draws the ratings.
    """

    def __init__(
        self,
        n_users: Count,
        n_items: Count,
        n_ratings: Count,
        test_fraction: Fraction,
        validation_fraction: Fraction,
        data_seed: Seed = 0,
    ) -> None:
        super().__init__()
        self.n_users, self.n_items, self.n_ratings = n_users, n_items, n_ratings
        self.test_fraction, self.validation_fraction = test_fraction, validation_fraction
        self.data_seed = data_seed

    def load_table(self) -> tuple[RatingTable, str]:
        random = np.random.default_rng(self.data_seed)
        users = random.integers(self.n_users, size=self.n_ratings)
        popularity = 1 / np.arange(1, self.n_items + 1)
        items = random.choice(self.n_items, self.n_ratings, p=popularity / popularity.sum())
        user_factors, item_factors = (
            random.normal(0, 0.5, (n, 3)) for n in (self.n_users, self.n_items)
        )
        user_bias, item_bias = (random.normal(0, 0.4, n) for n in (self.n_users, self.n_items))
        score = (
            3.5
            + user_bias[users]
            + item_bias[items]
            + (user_factors[users] * item_factors[items]).sum(axis=1)
            + random.normal(0, 0.5, self.n_ratings)
        )
        ratings = np.clip(np.rint(score), 1, 5).astype(np.float32)
        titles = {i: f"Film {i} ({1900 + i % 100})" for i in range(1, self.n_items + 1)}
        return RatingTable(users + 1, items + 1, ratings, titles), f"data_seed {self.data_seed}"

    def split_rows(self, table: RatingTable) -> dict[str, Indices]:
        return split_rows(
            len(table.ratings),
            test_fraction=self.test_fraction,
            validation_fraction=self.validation_fraction,
            seed=self.split_seed,
        )

    def title(self) -> str:
        return f"{self.n_ratings:,} synthetic ratings"
