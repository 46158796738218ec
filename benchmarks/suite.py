"""The comparisons: the same model, rows and settings, trained by us and by others."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ablab import project
from ablab.command.folders import register_resolvers
from ablab.command.overrides import force_overrides
from ablab.safety.atomic_files import atomic_write
from benchmarks.contenders.task import Task
from benchmarks.rounds import Contender

if TYPE_CHECKING:
    from ablab.config.schema import Config
    from ablab.data.module import TensorDataModule

TRAIN_FILE = Path(__file__).resolve().parents[1] / "train.py"
HAND, TEMPLATE, FASTAI = "hand-written loop", "Lightning template", "fastai"
N_DIGITS, N_RUNS = 60_000, 100


@dataclass(frozen=True)
class Benchmark:
    """Contenders that take turns.

    All times are compared with those of ``references``; ``metric`` on the test part shows that all
    contenders learn the same.
    """

    title: str
    metric: str
    contenders: list[Contender]
    references: list[str]


def comparisons(root: Path, folder: Path, *, gpu: bool) -> dict[str, Callable[[], Benchmark]]:
    """Return the comparisons by name.

    Args:
        root: the folder of the data.
        folder: where the rows for other programs are written.
        gpu: include the comparisons that need a GPU.
    """
    found = {
        "collab": partial(_epochs, "collab", _lesson(root), folder),
        "mnist_nn": partial(_epochs, "mnist_nn", _digits(), folder),
        "quality": partial(_quality, root, folder),
        "plan": partial(_plan, root, folder),
    }
    if gpu:
        found["collab_gpu"] = partial(_on_gpu, "collab", _lesson(root), folder)
        found["mnist_nn_gpu"] = partial(_on_gpu, "mnist_nn", _digits(), folder)
    return found


def _lesson(root: Path) -> list[str]:
    return [f"paths.data={root}", "data.validation_fraction=0.1"]


def _digits() -> list[str]:
    """Return overrides for drawn digits, as many as MNIST has: they need no download."""
    size = [f"data.n_rows={N_DIGITS}", "data.noise=400", "data.validation_fraction=0.1"]
    return ["data=synthetic_digits", *size, "trainer.max_epochs=5"]


def _epochs(experiment: str, overrides: list[str], folder: Path) -> Benchmark:
    """Compare whole fits, with validation and checkpoints."""
    task = prepared(experiment, overrides, folder)
    own = partial(ours, experiment, overrides)
    return Benchmark(
        f"{experiment}, batches of {task.batch_size}, validated after each of {task.epochs} epochs",
        task.metric,
        [
            own("ours"),
            own("ours, W&B offline", "logger=default", "logger.wandb.mode=offline"),
            own("ours, fused Adam", "optim.fused=true"),
            other(HAND, "hand_loop", task),
            other(TEMPLATE, "lightning_template", task),
            other(FASTAI, "fastai_learner", task, needs="fastai"),
        ],
        ["ours", HAND],
    )


def _quality(root: Path, folder: Path) -> Benchmark:
    """Compare the time to the RMSE of fastai's lesson, 0.9026 on its split, without validation."""
    data = [f"paths.data={root}"]
    task = prepared("collab", data, folder)
    return Benchmark(
        "time to the lesson's quality: test RMSE at most 0.9026",
        task.metric,
        [
            ours("collab_fast", data, "collab_fast"),
            ours("collab", data, "collab"),
            other(HAND, "hand_loop", task),
            other(FASTAI, "fastai_learner", task, needs="fastai"),
            other("Surprise SVD", "surprise_svd", task, needs="surprise"),
            other("myFM", "myfm_gibbs", task, needs="myfm"),
        ],
        ["collab_fast"],
    )


def _plan(root: Path, folder: Path) -> Benchmark:
    """Compare a whole plan, with its records, checkpoints and report, with bare loops."""
    data = [f"paths.data={root}"]
    task = dataclasses.replace(prepared("mnist_logistic", data, folder), repeats=N_RUNS)

    def plan(place: Path, number: int) -> list[str]:
        seeds = f"seed=range({number},{number + N_RUNS})"
        arguments = ["-m", "experiment=mnist_logistic", *data, seeds, "interpret=none"]
        return [str(TRAIN_FILE), *arguments, "logger=csv", f"hydra.sweep.dir={place}"]

    return Benchmark(
        f"{N_RUNS} runs of mnist_logistic, one after the other",
        task.metric,
        [Contender("plan", plan), other(HAND, "hand_loop", task)],
        [HAND],
    )


def _on_gpu(experiment: str, overrides: list[str], folder: Path) -> Benchmark:
    task = dataclasses.replace(prepared(experiment, overrides, folder), device="cuda")
    own = partial(ours, experiment, [*overrides, "trainer.accelerator=gpu"])
    graphs = dataclasses.replace(task, compile=True)
    return Benchmark(
        f"{experiment} on a GPU, batches of {task.batch_size}",
        task.metric,
        [
            own("ours"),
            own("ours, bf16", "trainer.precision=bf16-mixed"),
            other(HAND, "hand_loop", task),
            other("hand-written loop, CUDA graphs", "hand_loop", graphs),
        ],
        ["ours", HAND],
    )


# -- commands of contenders ----------------------------------------------------------------------


def ours(experiment: str, overrides: list[str], name: str, *changes: str) -> Contender:
    """Return a contender that runs ``train.py`` with its defaults, but without interpretations."""

    def command(place: Path, number: int) -> list[str]:
        said = [f"experiment={experiment}", *overrides, "interpret=none", "logger=csv", *changes]
        return [str(TRAIN_FILE), *said, f"seed={number}", f"hydra.run.dir={place}"]

    return Contender(name, command)


def other(name: str, module: str, task: Task, *, needs: str | None = None) -> Contender:
    """Return a contender that runs a module of ``benchmarks.contenders``."""

    def command(place: Path, number: int) -> list[str]:
        dataclasses.replace(task, seed=number).write(place)
        return ["-m", f"benchmarks.contenders.{module}", str(place)]

    return Contender(name, command, needs)


def prepared(experiment: str, overrides: list[str], folder: Path) -> Task:
    """Write the rows of an experiment to a file; return them and its settings as a task.

    Raises:
        UserError: the data cannot be read or fetched.
    """
    import numpy as np

    config, data = _composed(experiment, overrides)
    arrays = {
        f"{part}_{number}": tensor.numpy()
        for part, tensors in data.parts.items()
        for number, tensor in enumerate(tensors)
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{experiment}.npz"
    with atomic_write(path) as file:
        np.savez(file, allow_pickle=False, **arrays)
    return Task(
        model=experiment,
        data=str(path.absolute()),
        metric=config.objective.metric,
        epochs=config.trainer["max_epochs"],
        batch_size=config.loading.batch_size,
        lr=config.optim.lr,
        weight_decay=config.optim.weight_decay.value,
        sizes=data.sizes,
    )


def _composed(experiment: str, overrides: list[str]) -> "tuple[Config, TensorDataModule]":
    from hydra import compose, initialize_config_dir

    from ablab.config.check import check
    from ablab.training.build import build_data

    register_resolvers()
    with initialize_config_dir(str(project.current().conf), version_base="1.3"):
        said = force_overrides([f"experiment={experiment}", *overrides])
        config = check(compose("config", overrides=said))
    return config, build_data(config)
