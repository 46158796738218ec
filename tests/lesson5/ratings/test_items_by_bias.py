"""Items by bias and by number of ratings, against numbers worked out by hand."""

import numpy as np
import pytest
import torch

from ablab.errors import UserError
from lesson5.ratings.collab_filter import CollabFilter
from lesson5.ratings.interpret.items_by_bias import items_by_bias, items_by_count
from lesson5.ratings.module import RatingsDataModule, RatingTable
from tests.lesson5.ratings.small_ratings import TITLES, five_items, model_of


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


def test_items_by_count_are_tenths_from_rare_to_common() -> None:
    data = TwentyItems()
    data.setup("fit")
    model = CollabFilter(**data.sizes, n_factors=4, y_range=None, biases=False)
    with torch.no_grad():
        model.u_weight.weight.zero_()  # predicts 0, so every error is 3
        for k in range(1, 21):
            model.i_weight.weight[k] = float(k)  # of length 2k
    table = items_by_count(model, data).tables["items_by_count"]
    assert table["decile"].to_list() == list(range(1, 11))
    assert table["fewest_ratings"].to_list() == list(range(1, 20, 2))
    assert table["most_ratings"].to_list() == list(range(2, 21, 2))
    assert table["mean_norm"].to_list() == pytest.approx([2 * k + 1 for k in range(1, 20, 2)])
    assert table["rows"].to_list() == [2] * 10
    assert table["rmse"].to_list() == pytest.approx([3.0] * 10)


def test_biases_rank_items_and_a_model_without_any_says_so() -> None:
    data = five_items()
    model = model_of(data, item_bias=[0.1, 0.5, -0.2, -0.3, 0.9])
    findings = items_by_bias(model, data, top=1, min_ratings=3)
    best, worst = findings.extracts.values()
    assert (best["title"][0], worst["title"][0]) == (TITLES[1], TITLES[3])
    assert findings.tables["items_by_bias"]["title"][0] == TITLES[4]  # the whole table has all
    items_by_bias(model, data, min_ratings=6)  # one item alone
    with pytest.raises(UserError, match="no item has 50"):
        items_by_bias(model, data, min_ratings=50)
    with pytest.raises(UserError, match="the model has no biases"):
        items_by_bias(CollabFilter(**data.sizes, n_factors=2, biases=False), data)
