"""A contender reads its task from ``FOLDER/task.json`` and writes ``FOLDER/run.json``."""

import dataclasses
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ablab.runs.record import RunRecord

TASK_FILE = "task.json"
Part = list[NDArray[Any]]


@dataclass(frozen=True)
class Task:
    """What to train, on which rows, with which settings.

    ``data`` is an archive of arrays ``train_0``, …, ``val_0``, …; the last array of a part is the
    target. ``repeats`` is the number of fits, each with the next seed.
    """

    model: str
    data: str
    metric: str
    epochs: int
    batch_size: int
    lr: float
    weight_decay: float
    seed: int = 0
    repeats: int = 1
    device: str = "cpu"
    compile: bool = False
    sizes: dict[str, int] = field(default_factory=dict)

    def part(self, name: str) -> Part:
        """Return the arrays of ``train``, ``val`` or ``test``, with a row for each example."""
        with np.load(self.data, allow_pickle=False) as archive:
            names = sorted(key for key in archive.files if key.startswith(f"{name}_"))
            return [archive[key] for key in names]

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / TASK_FILE).write_text(json.dumps(dataclasses.asdict(self)))


def rmse(predictions: NDArray[Any], ratings: NDArray[Any]) -> float:
    """Return the root mean squared error of predictions (N,) and ratings (N,)."""
    return float(np.sqrt(np.mean((predictions.astype(np.float64) - ratings) ** 2)))


def contend(build: Callable[[Task], tuple[Callable[[], int], Callable[[], float]]]) -> None:
    """Fit what the folder on the command line asks for, and write the record.

    ``build`` reads and builds all that a fit needs; it gives back the fit, which alone is timed and
    returns the number of its optimiser steps (0: it has none), and a function that returns
    ``Task.metric`` on the test part.
    """
    folder = Path(sys.argv[1])
    task = Task(**json.loads((folder / TASK_FILE).read_text()))
    config = {
        **dataclasses.asdict(task),
        "name": Path(sys.argv[0]).stem,
        "objective": {"metric": task.metric, "mode": "min" if task.metric == "rmse" else "max"},
        "seeds": {},
        "paths": {"data": None},
        "data": {"root": None, "archive": task.data},
    }
    record = RunRecord.planned(config, [])
    record.begin()
    seconds, steps, found = 0.0, 0, []
    for seed in range(task.seed, task.seed + task.repeats):
        fit, test = build(dataclasses.replace(task, seed=seed))
        started = time.perf_counter()
        steps += fit()
        seconds += time.perf_counter() - started
        found.append(test())
    record.seconds["fit"] = seconds
    record.steps, record.epochs = steps, task.epochs * task.repeats
    record.metrics["test"] = {task.metric: float(np.mean(found))}
    record.end("done", 0)
    record.write(folder)
