"""The configs of a search's trials, all looked at before the first is run."""

import functools
from typing import Any

from ablab.ablation.plan.compose import CommandLine, Compose, Job, compose_jobs
from ablab.ablation.plan.plan import Plan
from ablab.ablation.search.space import Parameter
from ablab.config.schema import Config
from ablab.config.written import leaves, shown
from ablab.errors import ConfigError
from ablab.runs.identity import identity


class TrialConfigs:
    """The configs of trials: points of a plan whose axes walk side by side."""

    def __init__(self, space: list[Parameter], command_line: CommandLine, compose: Compose) -> None:
        self.space = space
        self._command_line = command_line
        composed = functools.cache(lambda overrides: compose(list(overrides)))
        self._compose: Compose = lambda overrides: composed(tuple(overrides))

    def probe(self) -> Config:
        """The config of a first point, after a look at the ends of every axis.

        Raises:
            ConfigError: with the faults of all points that were looked at.
        """
        configs = []
        faults: dict[str, str] = {}  # one a key: several points may fail by the same
        for number in range(max(len(p.probes) for p in self.space)):
            try:
                point = {p.key: p.probes[min(number, len(p.probes) - 1)] for p in self.space}
                configs.append(self._job(point).config)
            except ConfigError as error:
                for fault in str(error).splitlines():
                    faults.setdefault(fault.partition(":")[0], fault)
        if faults:
            raise ConfigError("\n".join(faults.values()))
        if len({(c.objective.metric, c.objective.mode) for c in configs}) > 1:
            raise ConfigError("objective.metric: is not the same in all trials; leave it out")
        if not all(c.has_validation for c in configs):
            raise ConfigError(
                "data.validation_fraction: a search chooses by the validation part, and there is "
                "none; add data.validation_fraction=0.1, say"
            )
        return configs[0]

    def job(self, drawn: dict[str, Any]) -> Job:
        """Raises ConfigError."""
        return self._job({p.key: p.value(drawn[p.key]) for p in self.space})

    def _job(self, point: dict[str, Any]) -> Job:
        plan = Plan(zip={key: [value] for key, value in point.items()})
        (job,) = compose_jobs(plan, self._command_line, self._compose)
        return job


def about(config: Config, space: list[Parameter]) -> dict[str, str]:
    """What has to stay the same for trials to be compared: what runs compute, and the space."""
    fixed = leaves(identity(config.model_dump(mode="json")), in_lists=False)
    return {k: shown(v) for k, v in fixed} | {p.key: str(p) for p in space}
