"""Run ``python train.py -m …``: a plan (``ablation=NAME``) or sweeps of the command line.

Hydra imports this file in every process, so it imports the engine only when it is used.
"""

from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, RunMode, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict


class AblationSweeper(Sweeper):
    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        from ablab import project
        from ablab.ablation.launch.launch import run_apart

        self.config = config
        self.hydra_context = hydra_context
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context,
            task_function=partial(run_apart, project.current().train_file),
            config=config,
        )

    def sweep(self, arguments: list[str]) -> None:
        from ablab.ablation.plan.folder import PlanFolder
        from ablab.ablation.plan.plan import read_plan
        from ablab.ablation.plan.sweep import run_plan

        assert self.config is not None
        assert self.launcher is not None
        values: Any = OmegaConf.to_container(self.config.get("ablation") or OmegaConf.create())
        path = Path(self.config.hydra.sweep.dir)
        chosen = self.config.hydra.runtime.choices.get("ablation")
        launch = self.launcher.launch
        run_plan(
            read_plan(values),
            arguments,
            self.compose,
            lambda jobs: launch(jobs, initial_job_idx=0),
            getattr(self.launcher, "queued", set),
            PlanFolder(
                path, chosen or f"{path.parent.name}/{path.name}", found_again=chosen is not None
            ),
            Path(self.config.paths.runs),
            getattr(self.launcher, "describe", None),
        )

    def compose(self, overrides: list[str]) -> DictConfig:
        """Compose a job's config as Hydra does, without Hydra's own node."""
        assert self.config is not None
        assert self.hydra_context is not None
        config = self.hydra_context.config_loader.load_configuration(
            config_name=self.config.hydra.job.config_name,
            overrides=overrides,
            run_mode=RunMode.RUN,
        )
        with open_dict(config):
            del config["hydra"]
        return config
