"""The space of a search: Hydra's sweeps (interval, range, choice) as Optuna distributions."""

import math
from dataclasses import dataclass, field
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from ablab.ablation.plan.command_line import parse_value
from ablab.config.written import shown
from ablab.errors import ConfigError

_NOT_SEARCHED = {
    "seed": "the best of a search over seeds is luck; run the settings it finds with several",
    "test": "it holds for all trials; leave it out, so that they leave the test part unread",
    "name": "it says what the runs are called, not what they compute",
    "run": "is for a single run; leave out -m",
    "task": "is for a single run; leave out -m",
}


@dataclass(frozen=True)
class Parameter:
    """An axis of the space. Optuna draws a number or, for a choice, its text."""

    key: str
    distribution: BaseDistribution
    choices: dict[str, Any] = field(default_factory=dict)  # text -> value

    def typed(self, drawn: Any) -> Any:
        """Round a drawn number to what a command line shows, so that a command can repeat it."""
        d = self.distribution
        if not isinstance(d, FloatDistribution):
            return drawn
        if d.step is not None:
            return round(drawn, 12)
        return min(max(float(shown(float(drawn))), d.low), d.high)

    def value(self, drawn: Any) -> Any:
        """Return the value for the config."""
        return self.choices[drawn] if self.choices else drawn

    def text(self, drawn: Any) -> str:
        return drawn if self.choices else shown(drawn)

    @property
    def probes(self) -> list[Any]:
        """Test values: if the config accepts these, it accepts the whole range."""
        if self.choices:
            return list(self.choices.values())
        d = self.distribution
        assert isinstance(d, FloatDistribution | IntDistribution)
        if d.step is not None:
            return [d.low, d.high]
        not_whole = d.low + (d.high - d.low) / math.pi
        return [d.low, not_whole, d.high]

    def __str__(self) -> str:
        if self.choices:
            return f"choice({', '.join(self.choices)})"
        d = self.distribution
        assert isinstance(d, FloatDistribution | IntDistribution)
        text = f"{shown(d.low)} … {shown(d.high)}"
        text += f" by {shown(d.step)}" if d.step and not d.log else ""
        return text + (" log" if d.log else "")


def split_space(arguments: list[str]) -> tuple[list[Parameter], list[str]]:
    """Split a command line into the space to search and the other overrides.

    Raises:
        ConfigError: lists all that cannot be searched, or nothing is to be searched.
    """
    space, rest, given, faults = [], [], [], []
    for override in OverridesParser.create().parse_overrides(arguments):
        key = override.key_or_group
        given.append(key)
        if key.partition(".")[0] == "ablation":
            faults.append(f"{key}: is a setting of a plan, and a search has none; leave it out")
        elif not override.is_sweep_override():
            rest.append(str(override.input_line))
        elif key in _NOT_SEARCHED:
            faults.append(f"{key}: {_NOT_SEARCHED[key]}")
        else:
            try:
                space.append(_parameter(key, override))
            except ValueError as error:
                faults.append(f"{key}: {error}")
    faults += [f"{p.key}: is given twice" for p in space if given.count(p.key) > 1]
    if not space and not faults:
        faults = [
            "hydra/sweeper=optuna: there is nothing to search; try optim.lr=interval(1e-4,1e-1)"
        ]
    if faults:
        raise ConfigError("\n".join(dict.fromkeys(faults)))
    return space, rest


def _parameter(key: str, override: Override) -> Parameter:
    sweep = override.value()
    if not isinstance(sweep, IntervalSweep | RangeSweep | ChoiceSweep):
        raise ValueError("list the choices; a search does not support glob")
    if isinstance(sweep, RangeSweep | ChoiceSweep) and sweep.shuffle:
        raise ValueError("leave out shuffle; a search draws at random anyway")
    if unknown := sweep.tags - {"log"}:
        raise ValueError(f"there is no tag '{unknown.pop()}'; the only tag is log")
    log = "log" in sweep.tags
    if isinstance(sweep, ChoiceSweep):
        if log:
            raise ValueError("leave out the tag log; a choice has no scale")
        texts = list(override.sweep_string_iterator())
        choices = {text: parse_value(key, text) for text in texts}
        if len(choices) < len(texts):
            raise ValueError("a choice is given twice")
        return Parameter(key, CategoricalDistribution(list(choices)), choices)
    if isinstance(sweep, IntervalSweep):
        assert sweep.start is not None
        assert sweep.end is not None
        low, high, step = sweep.start, sweep.end, None
    else:
        low, high, step = _grid(sweep)
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError("an interval needs two ends")
    if low > high:
        raise ValueError(f"the interval ends at {shown(high)}, before it begins, at {shown(low)}")
    if log and low <= 0:
        raise ValueError(f"a logarithmic scale begins above 0, not at {shown(low)}")
    if isinstance(low, int) and isinstance(high, int):
        if log and step not in (None, 1):
            raise ValueError("a logarithmic scale has no steps; use int(tag(log,interval(…)))")
        return Parameter(key, IntDistribution(low, high, log=log, step=int(step or 1)))
    if log and step is not None:
        raise ValueError("a logarithmic scale has no steps; use tag(log,interval(…))")
    return Parameter(key, FloatDistribution(low, high, log=log, step=step))


def _grid(sweep: RangeSweep) -> tuple[float, float, float]:
    """Return the lowest value, the highest value and the step of a range."""
    if sweep.step == 0:
        raise ValueError("a range needs a step other than 0")
    values = sweep.range()
    if not isinstance(values, range):
        values = [round(value, 12) for value in values]
    if not values:
        raise ValueError("the range is empty")
    return min(values[0], values[-1]), max(values[0], values[-1]), abs(sweep.step)
