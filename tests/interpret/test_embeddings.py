"""What embeddings have learned, against numbers worked out by hand."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from lab.data.ratings import RatingsDataModule, RatingTable
from lab.interpret.embeddings import items_by_count
from lab.models.collab import CollabFilter


class TwentyItems(RatingsDataModule):
    """Item k is rated k times in training and once in the test part, always with a 3."""

    def load_table(self) -> tuple[RatingTable, str]:
        items = np.array([k for k in range(1, 21) for _ in range(k + 1)])
        users = np.arange(len(items)) % 5
        ratings = np.full(len(items), 3.0, np.float32)
        return RatingTable(users, items, ratings, {}), "this test"

    def split_rows(self, table: RatingTable) -> dict[str, np.ndarray]:
        last = np.flatnonzero(np.diff(table.items, append=-1))
        return {"train": np.setdiff1d(np.arange(len(table.items)), last), "test": last}


def test_items_by_count_are_tenths_from_rare_to_common(tmp_path: Path) -> None:
    data = TwentyItems(batch_size=4, eval_batch_size=4, order_seed=0)
    data.setup("fit")
    model = CollabFilter(**data.sizes, n_factors=4, y_range=None, biases=False)
    with torch.no_grad():
        model.u_weight.weight.zero_()  # predicts 0, so every error is 3
        for k in range(1, 21):
            model.i_weight.weight[k] = float(k)  # of length 2k
    rows = items_by_count(model, data, tmp_path)
    assert [row.decile for row in rows] == list(range(1, 11))
    assert [(r.fewest_ratings, r.most_ratings) for r in rows] == [
        (k, k + 1) for k in range(1, 20, 2)
    ]
    assert [row.mean_norm for row in rows] == pytest.approx([2 * k + 1 for k in range(1, 20, 2)])
    assert [row.rows for row in rows] == [2] * 10
    assert all(math.isclose(row.rmse, 3.0) for row in rows)
    assert (tmp_path / "items_by_count.csv").read_text().count("\n") == 11
