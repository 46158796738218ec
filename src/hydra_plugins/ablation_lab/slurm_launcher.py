"""Run each job as a SLURM job of its own."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


class SlurmLauncher(Launcher):
    """Its settings are described in ``slurm.yaml``."""

    def __init__(self, **settings: Any) -> None:
        from ablab.ablation.launch.slurm_settings import SlurmSettings
        from ablab.config.schema.values import read_plugin_settings

        values: Any = OmegaConf.to_container(OmegaConf.create(settings))
        self.settings = read_plugin_settings(SlurmSettings, "hydra.launcher", values)

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Do nothing: the process of a job finds everything in its run folder."""

    def queued(self) -> set[Path]:
        """Return the run folders whose jobs SLURM has, of whichever sweep."""
        from ablab.ablation.launch.slurm_queue import SlurmQueue

        return set(SlurmQueue(self.settings).jobs())

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        from ablab.ablation.launch.launch import folder_of
        from ablab.ablation.launch.slurm import run_on_slurm

        return run_on_slurm([folder_of(overrides) for overrides in job_overrides], self.settings)
