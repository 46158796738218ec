"""Choose the folders of runs and sweeps, by resolvers that the config files name."""

from datetime import datetime
from pathlib import Path

from omegaconf import OmegaConf

from ablab.config.metric_names import monitored
from ablab.errors import RunFolderError
from ablab.safety.atomic_files import is_there
from ablab.training.launched import rank_of_environment


def run_folder(runs: str, name: str, run: str | None) -> str:
    """Return the folder of a run: the one given by ``run=…``, else a new one named by the time.

    Of a new run only rank 0 knows the folder where torchrun or srun has started the others; they
    write nothing.
    """
    if run is None and rank_of_environment() > 0:
        return str(Path(runs) / name)
    if run is None:
        return str(Path(runs) / name / datetime.now().strftime("%Y-%m-%d_%H-%M-%S-%f"))
    if not is_there(Path(run) / "run.json"):
        raise RunFolderError(f"run={run}: no run is there (no file run.json)")
    return run


def sweep_folder(runs: str, name: str, run: str | None, plan: str | None) -> str:
    """Return the folder of a sweep's runs; a plan's has its name, so that it is found again."""
    if run is not None:
        return str(Path(run).parent)
    if plan is not None:
        return str(Path(runs) / "ablation" / plan)
    return str(Path(runs) / name / datetime.now().strftime("multirun_%Y-%m-%d_%H-%M-%S-%f"))


def register_resolvers() -> None:
    """Register the resolvers of our config files with OmegaConf."""
    # Cached, since Lightning resolves the config again for the processes of the other ranks.
    OmegaConf.register_new_resolver("run_folder", run_folder, replace=True, use_cache=True)
    # A job of a sweep that continues a run has the folder of that run.
    OmegaConf.register_new_resolver(
        "run_name", lambda run, number: number if run is None else Path(run).name, replace=True
    )
    OmegaConf.register_new_resolver("sweep_folder", sweep_folder, replace=True, use_cache=True)
    OmegaConf.register_new_resolver("monitored", monitored, replace=True)
