"""fastai's own recipe: ``collab_learner`` or ``Learner``, and ``fit_one_cycle``."""

# pyright: reportMissingImports=false

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from fastai.basics import DataLoader, DataLoaders, Learner, TransformBlock, accuracy, rmse, set_seed
from fastai.callback import schedule  # noqa: F401  # gives Learner its fit_one_cycle
from fastai.collab import TabularCollab, collab_learner
from fastai.tabular.core import Categorify
from torch.utils.data import TensorDataset

from benchmarks.contenders.plain_models import N_FACTORS, Y_RANGE, plain_model
from benchmarks.contenders.task import Task, contend


def _collab_learner(task: Task, valid: str) -> Learner:
    names = ["user", "item", "rating"]
    parts = [pd.DataFrame(dict(zip(names, task.part(p), strict=True))) for p in ("train", valid)]
    rows = np.split(np.arange(sum(map(len, parts))), [len(parts[0])])
    table = TabularCollab(
        pd.concat(parts, ignore_index=True),
        [Categorify],
        names[:2],
        y_names=names[2:],
        y_block=TransformBlock(),
        splits=[part.tolist() for part in rows],
    )  # as CollabDataLoaders.from_df, but for the rows it draws
    loaders = table.dataloaders(bs=task.batch_size)
    return collab_learner(loaders, n_factors=N_FACTORS, y_range=Y_RANGE, metrics=rmse)


def _digits_learner(task: Task, valid: str) -> Learner:
    sets = [TensorDataset(*map(torch.from_numpy, task.part(part))) for part in ("train", valid)]
    loaders = DataLoaders(
        *(DataLoader(s, bs=task.batch_size, shuffle=i == 0) for i, s in enumerate(sets))
    )
    model, loss_function = plain_model(task)
    return Learner(loaders, model, loss_func=loss_function, metrics=accuracy)


def build(task: Task) -> tuple[Callable[[], int], Callable[[], float]]:
    set_seed(task.seed)
    make = _collab_learner if task.model == "collab" else _digits_learner
    learner = make(task, "val" if task.part("val") else "test")

    def fit() -> int:
        learner.fit_one_cycle(task.epochs, task.lr, wd=task.weight_decay)
        return task.epochs * len(learner.dls.train)

    def test() -> float:
        _, metric = learner.validate(dl=make(task, "test").dls.valid)
        return float(metric)

    return fit, test


if __name__ == "__main__":
    contend(build)
