"""Search: ``python train.py -m hydra/sweeper=optuna 'optim.lr=tag(log,interval(1e-4,1e-1))'``.

Hydra imports this file in every process, so it imports the engine only when it is used.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra_plugins.ablation_lab.ablation_sweeper import AblationSweeper


class OptunaSweeper(AblationSweeper):
    """Compose and launch jobs like a plan, but choose each one by the results so far."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.settings = settings

    def sweep(self, arguments: list[str]) -> None:
        from ablab.errors import ConfigError

        if find_spec("optuna") is None:
            raise ConfigError(
                "hydra/sweeper=optuna: needs Optuna; pip install 'ablation-lab[search]'"
            )
        from ablab.ablation.search.search import SearchSettings, run_search
        from ablab.config.schema.values import read_plugin_settings

        assert self.config is not None
        assert self.launcher is not None
        launch = self.launcher.launch
        run_search(
            read_plugin_settings(SearchSettings, "hydra.sweeper", self.settings),
            arguments,
            self.compose,
            lambda jobs: launch(jobs, initial_job_idx=0),
            getattr(self.launcher, "queued", set),
            Path(self.config.paths.runs) / "search",
        )
