"""Run several jobs at once on this machine, each in its own process and on its own GPUs."""

from collections.abc import Sequence

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class LocalLauncher(Launcher):
    """``jobs_at_a_time``: None means one for each GPU or, without GPUs, for each CPU core."""

    def __init__(self, jobs_at_a_time: int | None = None) -> None:
        self.jobs_at_a_time = jobs_at_a_time

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Do nothing: the process of a job finds everything in its run folder."""

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        from ablab.ablation.launch.job_pool import JobPool
        from ablab.ablation.launch.launch import folder_of

        folders = [folder_of(overrides) for overrides in job_overrides]
        return JobPool(folders, self.jobs_at_a_time).run()
