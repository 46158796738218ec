"""Surprise's SVD (Cython, one rating a step) with its documented settings."""

# pyright: reportMissingImports=false

from collections.abc import Callable

import numpy as np
import pandas as pd
from surprise import SVD, Dataset, Reader

from benchmarks.contenders.task import Task, contend, rmse


def build(task: Task) -> tuple[Callable[[], int], Callable[[], float]]:
    users, items, ratings = task.part("train")
    table = pd.DataFrame({"user": users, "item": items, "rating": ratings.astype(np.float64)})
    rows = Dataset.load_from_df(table, Reader(rating_scale=(1, 5))).build_full_trainset()
    model = SVD(random_state=task.seed)

    def fit() -> int:
        model.fit(rows)
        return 0

    def test() -> float:
        users, items, ratings = task.part("test")
        found = [model.predict(u, i).est for u, i in zip(users, items, strict=True)]
        return rmse(np.array(found), ratings)

    return fit, test


if __name__ == "__main__":
    contend(build)
