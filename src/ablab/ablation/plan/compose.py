"""Compose and check the config of every job of a plan, before the first one runs."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from ablab import project
from ablab.ablation.plan.command_line import CommandLine
from ablab.ablation.plan.composition import ABSENT, Composition, value_at
from ablab.ablation.plan.plan import Plan, Point, as_list, check_axes, expand
from ablab.command.overrides import keys_set_by, refuse_new_phases
from ablab.config.check import check, check_resolved
from ablab.config.loggers import refuse_missing_packages
from ablab.config.model_faults import refuse_unused
from ablab.config.schema import Config
from ablab.config.suggestions import suggestion
from ablab.config.written import shown
from ablab.errors import ConfigError
from ablab.runs.identity import config_hash

Compose = Callable[[list[str]], DictConfig]  # Hydra overrides -> a composed config


@dataclass
class Job:
    """A run that is planned.

    ``same_as`` names the points of the plan that have the very same config and so are not run
    again: variants at the same point of the grid by their names, all others by their labels.
    """

    variant: str | None
    settings: dict[str, Any]
    seed: int
    config: Config
    config_hash: str
    overrides: list[str]
    same_as: list[str] = field(default_factory=list)

    @property
    def folder_name(self) -> str:
        """The hash of the config, which identifies the job, behind words for people."""
        words = [
            self.variant or "",
            *(f"{k.split('.')[-1]}-{_brief(v)}" for k, v in self.settings.items()),
        ]
        start = "_".join(filter(None, words))[:60].rstrip("_")
        return "_".join([*([start] if start else []), f"seed{self.seed}", self.config_hash[:8]])


def compose_jobs(plan: Plan, command_line: CommandLine, compose: Compose) -> list[Job]:
    """Return the jobs of a plan in the order in which they run, each config once.

    Raises:
        ConfigError: lists every fault of every job once; nothing has run by then.
    """
    check_axes(plan)
    composer = _Composer(command_line, compose)
    jobs: dict[str, Job] = {}
    faults: dict[str, list[str]] = {}
    exclude_keys = {key for entry in plan.exclude for key in entry}
    unmatched = set(exclude_keys)
    wanted = {
        **{part.metric: "claim.expect" for part in plan.claim.expect},
        **dict.fromkeys(plan.metrics, "metrics"),
    }
    unmeasured = {metric for metric in wanted if not metric.startswith("train/")}
    for point in expand(plan):
        own = {"variant": point.variant, **point.settings}
        if any(_agrees(own, entry) for entry in plan.exclude):  # its config need not be valid
            unmatched -= own.keys()
            continue
        try:
            config = composer.checked(point)
        except ConfigError as error:
            for fault in str(error).splitlines():
                faults.setdefault(fault, []).append(point.label)
            continue
        values = _values_at(exclude_keys, point, config)
        unmatched -= values.keys()
        if any(_agrees(values, entry) for entry in plan.exclude):
            continue
        job = _job(point, config, command_line)
        if config.objective.loss is None:  # Only its runs show what its module logs.
            unmeasured.clear()
        else:
            unmeasured -= _measured(config)
        first = jobs.setdefault(job.config_hash, job)
        name = str(point.variant) if point.settings == first.settings else point.label
        if name not in (str(first.variant), *first.same_as) and point.seed in (None, first.seed):
            first.same_as.append(name)
    faults |= {f"ablation.exclude: no job has '{key}'": [""] for key in unmatched if not faults}
    if jobs and not faults:
        names = sorted(set().union(*(_measured(job.config) for job in jobs.values())))
        for metric in sorted(unmeasured):
            told = f"no job measures '{metric}'{suggestion(metric, names)}"
            faults[f"ablation.{wanted[metric]}: {told}"] = [""]
    if faults:
        raise ConfigError("\n".join(_fault_line(fault, labels) for fault, labels in faults.items()))
    if not jobs:
        raise ConfigError("ablation.exclude: leaves no job")
    return list(jobs.values())


class _Composer:
    """Compose and check the config of one point after the other.

    Hydra's composition is slow, so points that differ in values alone share one.
    """

    def __init__(self, command_line: CommandLine, compose: Compose) -> None:
        self._plain = command_line.plain
        self._given = [str(override.input_line) for override in self._plain]
        self._fixed = {override.key_or_group for override in self._plain}
        self._is_group = functools.cache(project.current().is_group)
        self._compose = compose
        self._composed: dict[tuple[str, ...], Composition] = {}

    def checked(self, point: Point) -> Config:
        """Return the config of ``point``. Raise ConfigError for its faults."""
        composition = self._composition(point)
        values = composition.resolved()
        if values is None:
            config = check(composition.config)
        else:
            config = check_resolved(values, lambda: composition.config)
        refuse_missing_packages(config)
        changed = [f"{key}={value}" for key, value in point.changes]
        said = [*self._given, *changed]
        experiment = next((o for o in said if o.startswith("experiment=")), "=")
        keys = keys_set_by([*changed, *self._given], experiment.partition("=")[2])
        refuse_unused(config, keys)
        return config

    def _composition(self, point: Point) -> Composition:
        """Return the unchecked config of ``point``, which is another one after the next call."""
        changes = [(key, value) for key, value in point.changes if key not in self._fixed]
        values = {key: value for key, value in changes if not self._is_group(key)}
        choices = {key: value for key, value in changes if key not in values}
        if wrong := [key for key, value in choices.items() if not isinstance(value, str)]:
            raise ConfigError(
                "\n".join(f"{key}: names a file; its values are set as {key}.KEY" for key in wrong)
            )
        overrides = (*(f"{key}={value}" for key, value in choices.items()), *self._given)
        if overrides not in self._composed:
            config = self._compose(list(overrides))
            refuse_new_phases(config, self._given)
            self._composed[overrides] = Composition(config)
        composition = self._composed[overrides]
        composition.restore()
        for key, value in values.items():
            composition.set(key, value)
        if phases := [f"++{k}={shown(v)}" for k, v in changes if k.startswith("phases.")]:
            refuse_new_phases(composition.config, phases)
        for override in self._plain:
            key = override.key_or_group
            if override.is_force_add() and any(_overlap(key, changed) for changed in values):
                composition.set(key, override.value(), merge=True)
        return composition


def _overlap(key: str, other: str) -> bool:
    """Return whether one of two dotted keys is within the other."""
    return f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.")


def _job(point: Point, config: Config, command_line: CommandLine) -> Job:
    given = [str(override.input_line).removeprefix("++") for override in command_line.plain]
    return Job(
        point.variant,
        point.settings,
        config.seed,
        config,
        config_hash(config.model_dump(mode="json")),
        [*(f"{key}={shown(value)}" for key, value in point.changes), *given],
    )


def _measured(config: Config) -> set[str]:
    names = ("loss", *(name for name, node in config.objective.metrics.items() if node))
    stages = ("test", "val") if config.has_validation else ("test",)
    return {f"{stage}/{name}" for stage in stages for name in names}


def _values_at(keys: set[str], point: Point, config: Config) -> dict[str, Any]:
    """Return the values of a job at those of ``keys`` that it has."""
    values = config.model_dump(mode="json") if keys else {}
    own = {"variant": point.variant, **point.settings}
    found = {key: own[key] if key in own else value_at(values, key) for key in keys}
    return {key: value for key, value in found.items() if value is not ABSENT}


def _agrees(values: dict[str, Any], entry: dict[str, Any]) -> bool:
    return all(key in values and values[key] in as_list(wanted) for key, wanted in entry.items())


def _fault_line(fault: str, labels: list[str]) -> str:
    labels = [label for label in dict.fromkeys(labels) if label]
    if not labels:
        return fault
    more = f" and {len(labels) - 3} more" if len(labels) > 3 else ""
    return f"{fault} (in {', '.join(labels[:3])}{more})"


def _brief(value: Any) -> str:
    kept = [c if c.isalnum() or c in ".+-" else "-" for c in Path(shown(value)).name]
    return "".join(kept).strip("-")
