"""Ratings that fit on a page, and models whose parameters are given."""

import numpy as np
import torch

from lesson5.ratings.collab_filter import CollabFilter
from lesson5.ratings.module import RatingsDataModule, RatingTable

TITLES = ("Alien (1979)", "Aliens (1986)", "Cost of $5_000, The [uncut]", "Amélie (2001)", "Ran")


class SmallRatings(RatingsDataModule):
    """Rows (user id, item id from 0, rating); the last ``n_test`` of them are the test part."""

    def __init__(
        self,
        rows: list[tuple[int, int, float]],
        n_test: int,
        titles: tuple[str, ...] = TITLES,
    ) -> None:
        super().__init__()
        self.configure(batch_size=4, eval_batch_size=4)
        self.table_rows, self.n_test, self.titles = rows, n_test, titles
        self.setup("fit")

    def load_table(self) -> tuple[RatingTable, str]:
        users, items, ratings = map(np.array, zip(*self.table_rows, strict=True))
        titles = dict(enumerate(self.titles))
        return RatingTable(users, items, ratings.astype(np.float32), titles), "this test"

    def split_rows(self, table: RatingTable) -> dict[str, np.ndarray]:
        rows = np.arange(len(table.ratings))
        return {"train": rows[: -self.n_test], "test": rows[-self.n_test :]}


def five_items() -> SmallRatings:
    """Item k has 6 - k ratings in training: all of users 10, 20, … from the first on, and all 3;
    in the test part user 30 gives 4 to item 4 and 2 to item 3."""
    rows = [(10 * (1 + u), k, 3.0) for k in range(5) for u in range(6 - k)]
    return SmallRatings([*rows, (50, 4, 4.0), (50, 3, 2.0)], n_test=2)


def model_of(
    data: RatingsDataModule,
    *,
    users: list[list[float]] | None = None,
    items: list[list[float]] | None = None,
    user_bias: list[float] | None = None,
    item_bias: list[float] | None = None,
    n_factors: int = 2,
    y_range: tuple[float, float] | None = None,
) -> CollabFilter:
    """Parameters of the known users and items; those not given are zero."""
    model = CollabFilter(**data.sizes, n_factors=n_factors, y_range=y_range)
    with torch.no_grad():
        for layer, values in (
            (model.u_weight, users),
            (model.i_weight, items),
            (model.u_bias, user_bias),
            (model.i_bias, item_bias),
        ):
            layer.weight.zero_()
            if values is not None:
                layer.weight[1:] = torch.tensor(values).reshape(len(values), -1)
    return model.eval()
