"""The configs of a search's trials; the ends of the space are checked before the first runs."""

import functools
from typing import Any

from ablab.ablation.plan.command_line import CommandLine
from ablab.ablation.plan.compose import Compose, Job, compose_jobs
from ablab.ablation.plan.plan import Plan
from ablab.ablation.search.space import Parameter
from ablab.config.schema import Config
from ablab.config.written import leaves, shown
from ablab.errors import ConfigError
from ablab.runs.identity import identity


class TrialConfigs:
    """Compose the configs of trials, as points of a plan."""

    def __init__(self, space: list[Parameter], command_line: CommandLine, compose: Compose) -> None:
        self.space = space
        self._command_line = command_line
        composed = functools.cache(lambda overrides: compose(list(overrides)))
        self._compose: Compose = lambda overrides: composed(tuple(overrides))

    def probe(self) -> Config:
        """Check the config at the ends of every axis, and return one of them.

        Raises:
            ConfigError: lists the faults at all points that were checked.
        """
        configs = []
        faults: dict[str, str] = {}  # one for each key: several points may have the same fault
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
            raise ConfigError(
                "objective.metric: must be the same in all trials; leave it out of the space"
            )
        if not all(c.has_validation for c in configs):
            raise ConfigError(
                "data.validation_fraction: a search chooses by the validation part, but there is "
                "none; add data.validation_fraction=0.1, for example"
            )
        return configs[0]

    def job(self, drawn: dict[str, Any]) -> Job:
        """Return the job of a drawn trial; raise ConfigError if its config has a fault."""
        return self._job({p.key: p.value(drawn[p.key]) for p in self.space})

    def _job(self, point: dict[str, Any]) -> Job:
        plan = Plan(zip={key: [value] for key, value in point.items()})
        (job,) = compose_jobs(plan, self._command_line, self._compose)
        return job


def about(config: Config, space: list[Parameter]) -> dict[str, str]:
    """Describe a search: its trials are comparable only while all of these values stay."""
    fixed = leaves(identity(config.model_dump(mode="json")), in_lists=False)
    return {k: shown(v) for k, v in fixed} | {p.key: str(p) for p in space}
