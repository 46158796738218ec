"""Run each job as a task on a Ray cluster."""

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


class RayLauncher(Launcher):
    """Its settings are described in ``ray.yaml``."""

    def __init__(self, **settings: Any) -> None:
        from importlib.util import find_spec

        from ablab.ablation.launch.ray_tasks import RaySettings
        from ablab.config.schema.values import read_plugin_settings
        from ablab.errors import ConfigError

        values: Any = OmegaConf.to_container(OmegaConf.create(settings))
        self.settings = read_plugin_settings(RaySettings, "hydra.launcher", values)
        if find_spec("ray") is None:
            raise ConfigError("hydra/launcher=ray: needs Ray; pip install 'ablation-lab[ray]'")

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Do nothing: the process of a job finds everything in its run folder."""

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        from ablab.ablation.launch.launch import folder_of
        from ablab.ablation.launch.ray_tasks import run_on_ray

        return run_on_ray([folder_of(overrides) for overrides in job_overrides], self.settings)
