"""The overrides of a command line beside a plan, some of them sweeps."""

from dataclasses import dataclass
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from ablab import project
from ablab.ablation.plan.plan import Plan
from ablab.errors import ConfigError
from ablab.runs.identity import NOT_IDENTITY

_NOT_SWEPT = ("run", "task")


@dataclass
class CommandLine:
    """The overrides given beside a plan: they hold for every job and win over the plan."""

    plain: list[Override]
    swept: dict[str, list[Any]]

    @classmethod
    def parse(cls, arguments: list[str]) -> "CommandLine":
        """Parse Hydra overrides; raise ConfigError for a sweep without a list of values."""
        plain, swept = [], {}
        hydra = GlobalHydra.instance()
        loader = hydra.config_loader() if hydra.is_initialized() else None  # glob(*) needs it
        overrides = OverridesParser.create(config_loader=loader).parse_overrides(arguments)
        if faults := [_of_a_plan(override) for override in overrides if _is_of_a_plan(override)]:
            raise ConfigError("\n".join(faults))
        for override in overrides:
            key = override.key_or_group
            if key.partition(".")[0] == "ablation":
                if override.is_sweep_override():
                    raise ConfigError("ablation: one plan at a time")
                continue
            if key in _NOT_SWEPT and (override.is_sweep_override() or key == "run"):
                raise ConfigError(f"{key}: is for a single run; leave out -m")
            if key == "task" and override.value() != "fit":
                raise ConfigError(f"task: {override.value()} is for a single run; leave out -m")
            if not override.is_sweep_override():
                plain.append(override)
            elif override.is_discrete_sweep():
                swept[key] = [parse_value(key, text) for text in override.sweep_string_iterator()]
            else:
                raise ConfigError(
                    f"{key}: has no list of values; hydra/sweeper=optuna searches in it"
                )
        return cls(plain, swept)

    def over(self, plan: Plan) -> Plan:
        """Return the plan with the sweeps of the command line as axes, and no axis it fixes.

        Raises:
            ConfigError: an axis does not change what a run computes, so its points would all be
                one job.
        """
        fixed = {override.key_or_group for override in self.plain}
        given = fixed | self.swept.keys()
        grid = {k: v for k, v in plan.grid.items() if k not in given}
        grid |= {k: v for k, v in self.swept.items() if k != "seed"}
        zipped = {k: v for k, v in plan.zip.items() if k not in given}
        if same := [axis for axis in (*grid, *zipped) if axis.partition(".")[0] in NOT_IDENTITY]:
            raise ConfigError(
                "\n".join(
                    f"{axis}: cannot be an axis, since it does not change what a run computes"
                    for axis in same
                )
            )
        changes: dict[str, Any] = {
            "grid": grid,
            "zip": zipped,
            "average": [axis for axis in plan.average if axis not in fixed],
            "baseline": {k: v for k, v in plan.baseline_settings.items() if k not in fixed},
            "claim": plan.claim.without(fixed),
        }
        if "seed" in given:
            changes["seeds"] = self.swept.get("seed")
        return plan.model_copy(update=changes)


def _is_of_a_plan(override: Override) -> bool:
    """Return whether a key of a plan is given as one of the config, such as ``seeds=2``."""
    key = override.key_or_group.partition(".")[0]
    if key == "seeds":  # which the config has too, with keys below it
        return key == override.key_or_group and not isinstance(override.value(), dict)
    return key in Plan.model_fields


def _of_a_plan(override: Override) -> str:
    key, _, value = str(override.input_line).lstrip("+").partition("=")
    value = f"[{value}]" if override.is_sweep_override() and "(" not in value else value
    return f"{key}: is a setting of a plan, not of its jobs; did you mean ablation.{key}={value}?"


def parse_value(key: str, text: str) -> Any:
    if project.current().is_group(key):
        return text
    return OverridesParser.create().parse_override(f"++{key}={text}").value()
