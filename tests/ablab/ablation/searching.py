"""Searches whose trials are computed, not trained: a launcher that writes what a run would."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobReturn, JobStatus
from optuna.storages import RDBStorage

from ablab import project
from ablab.ablation.launch.launch import folder_of
from ablab.ablation.search.search import SearchSettings, run_search
from ablab.command.folders import register_resolvers
from ablab.command.overrides import force_overrides
from ablab.runs.record import RunRecord

SPACE = ["optim.lr=tag(log,interval(1e-4,1e-1))", "model.n_factors=range(10,51,10)"]
Value = Callable[[dict[str, Any]], float]  # a config -> the objective of its run


class Killed(BaseException):
    """Stands for the end of the process."""


def distance(config: dict[str, Any]) -> float:
    """Least at lr 0.01 and 30 factors."""
    return abs(config["optim"]["lr"] - 0.01) + abs(config["model"]["n_factors"] - 30)


class Launcher:
    """Keeps the names of the folders of each launch."""

    def __init__(self, value: Value = distance) -> None:
        self.value = value
        self.launched: list[list[str]] = []

    def __call__(self, jobs: list[list[str]]) -> Sequence[JobReturn]:
        folders = [folder_of(job) for job in jobs]
        self.launched.append([folder.name for folder in folders])
        return [self.run(folder) for folder in folders]

    def run(self, folder: Path) -> JobReturn:
        record = RunRecord.read(folder)
        assert record.status == "planned"  # none is run twice
        try:
            metric = f"val/{record.objective['metric']}"
            record.metrics["chosen"] = {metric: self.value(record.config)}
            record.end("done", 0)
        except Exception as error:
            record.end("failed", 1, error)
        record.write(folder)
        return JobReturn(status=JobStatus.COMPLETED if record.error is None else JobStatus.FAILED)


@contextmanager
def hydra() -> Iterator[None]:
    register_resolvers()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(project.current().conf), version_base="1.3"):
        yield


def search(
    searches: Path,
    *said: str,
    launch: Callable[[list[list[str]]], Sequence[JobReturn]] | None = None,
    **settings: Any,
) -> None:
    chosen = {"study": "s", "trials": 6, "batch": 1, "sampler": "tpe", "seed": 0, **settings}
    with hydra():
        run_search(
            SearchSettings(**chosen),
            force_overrides(list(said)),
            lambda overrides: compose("config", overrides=overrides),
            launch or Launcher(),
            set,
            searches,
        )


def trials(searches: Path, study: str = "s") -> list[tuple[str, float | None, dict[str, Any]]]:
    """State, value and parameters of each, as any program with Optuna reads them."""
    storage = RDBStorage(f"sqlite:///{searches / study / 'study.db'}")
    kept = optuna.load_study(study_name="search", storage=storage).trials
    storage.engine.dispose()
    return [(t.state.name, t.value, t.params) for t in kept]
