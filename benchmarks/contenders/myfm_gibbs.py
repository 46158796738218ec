"""myFM: a Bayesian factorisation machine by Gibbs sampling, on user and item ids alone."""

# pyright: reportMissingImports=false

from collections.abc import Callable

import numpy as np
from myfm import MyFMRegressor
from scipy.sparse import csr_array, hstack

from benchmarks.contenders.task import Part, Task, contend, rmse

RANK, ITERATIONS = 10, 200  # of the README's example for MovieLens-100K


def build(task: Task) -> tuple[Callable[[], int], Callable[[], float]]:
    def one_hot(part: Part) -> csr_array:
        """Return (N, users + items) with a one in each half of a row."""
        columns = []
        for ids, size in zip(part[:2], ("n_users", "n_items"), strict=True):
            row_ends = np.arange(len(ids) + 1)
            shape = (len(ids), task.sizes[size])
            columns.append(csr_array((np.ones(len(ids)), ids, row_ends), shape=shape))
        return csr_array(hstack(columns))

    train, held_out = task.part("train"), task.part("test")
    rows = one_hot(train)
    model = MyFMRegressor(rank=RANK, random_seed=task.seed)

    def fit() -> int:
        model.fit(rows, train[-1], n_iter=ITERATIONS)
        return 0

    return fit, lambda: rmse(model.predict(one_hot(held_out)), held_out[-1])


if __name__ == "__main__":
    contend(build)
