"""Several jobs at once on this machine, one process a job, each on GPUs of its own."""

from collections.abc import Sequence

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class LocalLauncher(Launcher):
    """``jobs_at_a_time``: None for one a GPU or, on a machine without, one a CPU core."""

    def __init__(self, jobs_at_a_time: int | None = None) -> None:
        self.jobs_at_a_time = jobs_at_a_time

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """A job's process finds all that it needs in its folder."""

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        from ablab.ablation.launch.job_pool import JobPool
        from ablab.ablation.launch.launch import folder_of

        folders = [folder_of(overrides) for overrides in job_overrides]
        return JobPool(folders, self.jobs_at_a_time).run()
