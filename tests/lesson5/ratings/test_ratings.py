"""Ratings: what is refused, vocabularies, parts, and the baseline against an exact solution."""

from pathlib import Path

import numpy as np
import pytest

from ablab.errors import DataError
from lesson5.ratings.module import RatingsDataModule, RatingTable, fit_biases


class GivenRatings(RatingsDataModule):
    def __init__(self, table: RatingTable, test_rows: list[int]) -> None:
        super().__init__()
        self.configure(batch_size=4, eval_batch_size=100)
        self.table, self.test_rows = table, np.array(test_rows, dtype=np.int64)

    def load_table(self) -> tuple[RatingTable, str]:
        return self.table, "the test"

    def split_rows(self, table: RatingTable) -> dict[str, np.ndarray]:
        rows = np.arange(len(table.ratings))
        return {"train": np.setdiff1d(rows, self.test_rows), "test": self.test_rows}


def table(users: list[int], items: list[int], ratings: list[float]) -> RatingTable:
    return RatingTable(
        np.array(users), np.array(items), np.array(ratings, np.float32), {5: "Five", 6: "Six"}
    )


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_ratings_that_are_no_numbers_are_refused_with_their_row(bad: float) -> None:
    with pytest.raises(DataError, match=r"row 1 has rating .*; 1 of 3 are not finite"):
        table([1, 2, 3], [5, 5, 6], [1.0, bad, 2.0])


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(DataError, match="differ in their number of rows"):
        table([1, 2], [5, 5, 6], [1.0, 2.0, 3.0])


def test_a_split_without_training_rows_is_refused() -> None:
    data = GivenRatings(table([1, 2], [5, 6], [1.0, 2.0]), test_rows=[0, 1])
    with pytest.raises(DataError, match="no training or no test rows"):
        data.setup("fit")


def test_the_vocabulary_knows_training_rows_alone() -> None:
    data = GivenRatings(table([10, 20, 30, 10], [5, 5, 6, 7], [3.0, 5.0, 1.0, 2.0]), [2, 3])
    data.setup("fit")
    assert data.user_names == ["unknown", "10", "20"]
    assert data.item_names == ["unknown", "Five"]
    assert data.sizes == {"n_users": 3, "n_items": 2}
    users, items, ratings = data.parts["test"]
    assert users.tolist() == [0, 1]  # user 30 is only in the test part
    assert items.tolist() == [0, 0]
    assert ratings.tolist() == [1.0, 2.0]
    assert data.test_table()["user"] == [30, 10]  # told by their own ids all the same
    assert data.test_table()["title"] == ["Six", "item 7"]
    assert data.item_mean_rating[1] == 4.0
    assert data.item_rating_count.tolist() == [0, 2]


def test_biases_are_the_damped_least_squares_solution() -> None:
    """The alternating passes reach the minimum of Koren's penalised squares, solved directly."""
    random = np.random.default_rng(0)
    users, items = random.integers(0, 6, 80), random.integers(0, 5, 80)
    ratings = random.integers(1, 6, 80).astype(np.float32)
    mean, user_bias, item_bias = fit_biases(users, items, ratings, n_users=7, n_items=6, passes=500)
    design = np.concatenate([np.eye(7)[users], np.eye(6)[items]], axis=1)
    damping = np.diag([5.0] * 7 + [2.0] * 6)
    direct = np.linalg.solve(design.T @ design + damping, design.T @ (ratings - mean))
    np.testing.assert_allclose(np.concatenate([user_bias, item_bias]), direct, atol=1e-8)
    assert user_bias[6] == item_bias[5] == 0.0  # unseen


def test_the_baseline_is_measured_on_the_test_rows(tmp_path: Path) -> None:
    data = GivenRatings(table([1, 1, 2, 2], [5, 6, 5, 6], [4.0, 4.0, 4.0, 2.0]), [3])
    data.setup("fit")
    # all training ratings are 4, so the baseline says 4 where the truth is 2
    assert data.baselines() == {"bias-only": {"rmse": 2.0, "mae": 2.0}}
