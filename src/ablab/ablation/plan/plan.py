"""The schema of an ablation plan (``conf/ablation/NAME.yaml``) and its expansion to points."""

import itertools
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from ablab.config.schema import Count, Flag, FolderName, Number, Section, Seed, Text
from ablab.config.suggestions import suggestion
from ablab.config.written import label_of, shown
from ablab.errors import ConfigError
from ablab.report.table.plan_file import Expectation

Settings = dict[str, Any]  # "optim.lr" -> 0.01, or a group's choice: "optim" -> "sgd"
Key = Annotated[Text, Field(pattern=r"^\w[\w./@-]*$")]
Changes = dict[Key, Any]  # Settings that are checked
Values = Annotated[list[Any], Field(min_length=1)]
_NOT_OF_A_JOB = ("run", "task", "paths.runs")


class Expected(Section):
    """A part of a claim: one side beats the other in a metric, each at its best setting.

    A side is named as ``baseline`` is. ``by`` is the least improvement; a negative one says that
    ``better`` is worse by less than that.
    """

    better: Text | Annotated[Settings, Field(min_length=1)]
    than: Text | Annotated[Settings, Field(min_length=1)]
    metric: Text
    by: Number = 0.0

    @property
    def sides(self) -> tuple[Settings, Settings]:
        return as_settings(self.better), as_settings(self.than)


class Claim(Section):
    """The claim of a plan: a sentence, and the conditions under which it is true."""

    text: Text = ""
    expect: list[Expected] = Field(default=[])

    def without(self, axes: Collection[str]) -> "Claim":
        """Return the claim without what it expects of values on ``axes``."""
        kept = [part for part in self.expect if not any(side.keys() & axes for side in part.sides)]
        return self.model_copy(update={"expect": kept})


def _with_text(claim: Any) -> Any:
    return {"text": claim} if isinstance(claim, str) else claim


Claimed = Annotated[Claim, BeforeValidator(_with_text, json_schema_input_type=str | Claim)]


class Plan(Section):
    """A plan: every variant at every point of the grid, with every seed.

    A change is ``key: value``, with the key as on the command line: ``optim.lr: 0.01`` sets a
    value, ``optim: sgd`` chooses a file. A mapping replaces the whole mapping that was there:
    ``optim.lr_spread: {kind: flat}`` keeps no key of another kind.

    ``claim`` is a sentence, or ``{text, expect}`` with what the report checks. ``base`` holds for
    all jobs, ``zip`` walks through lists of equal length side by side. A job is left out if its
    config agrees with every line of an entry of ``exclude``. ``baseline`` names a variant, or gives
    values on axes: each row of the report is compared with the row that is
    equal but for these values. ``average`` names axes to average over, such as folds of a split.
    """

    claim: Claimed = Claim()
    base: Changes = Field(default={})
    baseline: Text | Settings | None = None
    variants: dict[FolderName, Changes | None] = Field(default={})
    grid: dict[Key, Values] = Field(default={})
    zip: dict[Key, Values] = Field(default={})
    seeds: Count | Annotated[list[Seed], Field(min_length=1)] | None = None
    exclude: list[Annotated[Settings, Field(min_length=1)]] = Field(default=[])
    average: list[Text] = Field(default=[])
    metrics: list[Text] = Field(default=[])
    dry_run: Flag = False
    retry_failed: Flag = False

    @property
    def axes(self) -> list[str]:
        return [*self.grid, *self.zip]

    @property
    def baseline_settings(self) -> Settings:
        """Return ``baseline`` as settings; the name of a variant is ``{"variant": NAME}``."""
        return as_settings(self.baseline or {})

    @property
    def expectations(self) -> tuple[Expectation, ...]:
        """Return what the claim expects, for ``plan.json``."""
        return tuple(Expectation(*part.sides, part.metric, part.by) for part in self.claim.expect)

    @property
    def seed_values(self) -> list[int | None]:
        """Return the seeds: 0, 1, 2 for ``seeds: 3``; None means the seed of the config."""
        if self.seeds is None:
            return [None]
        return list(range(self.seeds)) if isinstance(self.seeds, int) else list(self.seeds)

    def _parts(self) -> list[Mapping[str, Any]]:
        return [self.base, *(v or {} for v in self.variants.values()), self.grid, self.zip]

    def named_rows(self) -> list[tuple[str, Settings]]:
        """Return the settings that name rows of the table, with the key where they stand."""
        return [
            ("baseline", self.baseline_settings),
            *(
                (f"claim.expect.{number}.{name}", side)
                for number, part in enumerate(self.claim.expect)
                for name, side in zip(("better", "than"), part.sides, strict=True)
            ),
        ]

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> "Plan":
        for where, settings in self.named_rows():
            chosen = settings.get("variant")
            if chosen is not None and chosen not in self.variants:
                told = suggestion(str(chosen), list(self.variants))
                raise ValueError(f"{where}: no variant '{chosen}'{told}")
        for number, part in enumerate(self.claim.expect):
            if part.sides[0] == part.sides[1]:
                raise ValueError(f"claim.expect.{number}: better and than are the same")
        if both := self.grid.keys() & self.zip.keys():
            raise ValueError(f"zip: {', '.join(both)} is in grid as well")
        for key in dict.fromkeys(key for part in self._parts() for key in part):
            if key in _NOT_OF_A_JOB or key.partition("/")[0] == "hydra":
                raise ValueError(f"base: {key} is for the command line, not for a job of a plan")
        for entry in self.exclude:
            for name in as_list(entry.get("variant", [])):
                if name not in self.variants:
                    told = suggestion(str(name), list(self.variants))
                    raise ValueError(f"exclude: no variant '{name}'{told}")
        if "seed" in self.axes:
            raise ValueError("grid: the seed is no axis; list seeds under seeds")
        lengths = {key: len(values) for key, values in self.zip.items()}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{key} has {n}" for key, n in lengths.items())
            raise ValueError(f"zip: lists should be of one length ({told})")
        return self


@dataclass(frozen=True)
class Point:
    """A job before its config is composed: changes, applied in their order."""

    variant: str | None
    settings: Settings  # on the axes
    seed: int | None
    changes: list[tuple[str, Any]]

    @property
    def label(self) -> str:
        """The point in words, ``l2 optim.lr=0.01``; empty in a plan of seeds alone."""
        return label_of(self.variant, self.settings)


def as_settings(named: str | Settings) -> Settings:
    """Return settings; the name of a variant is ``{"variant": NAME}``."""
    return {"variant": named} if isinstance(named, str) else named


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def read_plan(values: Mapping[str, Any]) -> Plan:
    """Return the checked plan; raise ConfigError with every fault, one a line."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"ablation: a plan's file holds keys, such as seeds: 3 (not {values!r})")
    try:
        return Plan.model_validate(values)
    except ValidationError as error:
        # A union reports a fault once for each member.
        faults = dict.fromkeys(_fault(e) for e in error.errors())
        raise ConfigError("\n".join(faults)) from error


def check_axes(plan: Plan) -> None:
    """Check the baseline, claim and averages of a plan that has the axes of the command line too.

    Raises:
        ConfigError: one of them names an axis or a value that the plan does not have.
    """
    values, faults = {**plan.grid, **plan.zip}, []
    for where, settings in plan.named_rows():
        for key, value in settings.items():
            if key == "variant":
                continue
            if key not in values:
                faults.append(f"ablation.{where}: no axis '{key}'{suggestion(key, plan.axes)}")
            elif value not in values[key]:
                faults.append(f"ablation.{where}: {key} is never {shown(value)}")
    for axis in plan.average:
        if axis not in values:
            faults.append(f"ablation.average: no axis '{axis}'{suggestion(axis, plan.axes)}")
    if faults:
        raise ConfigError("\n".join(faults))


def expand(plan: Plan) -> list[Point]:
    """Return all points of a plan, seed by seed, so that all variants can be compared early."""
    points = []
    for seed in plan.seed_values:
        for variant, changes in (plan.variants or {None: {}}).items():
            for settings in _grid_points(plan):
                ordered = [*plan.base.items(), *(changes or {}).items(), *settings.items()]
                ordered += [("seed", seed)] if seed is not None else []
                points.append(Point(variant, settings, seed, ordered))
    return points


def _grid_points(plan: Plan) -> Iterator[Settings]:
    side_by_side = list(zip(*plan.zip.values(), strict=True)) or [()]
    for values in itertools.product(*plan.grid.values()):
        for zipped in side_by_side:
            yield {
                **dict(zip(plan.grid, values, strict=True)),
                **dict(zip(plan.zip, zipped, strict=True)),
            }


def _fault(error: Any) -> str:
    where = ".".join(["ablation", *map(str, error["loc"])])
    if error["type"] == "extra_forbidden":
        section = {1: Plan, 2: Claim}.get(len(error["loc"]), Expected)
        told = suggestion(str(error["loc"][-1]), list(section.model_fields))
        return f"{where}: unknown key{told}"
    if error["loc"][-1:] == ("[key]",) and isinstance(error["input"], bool):
        place = ".".join(map(str, error["loc"][:-2]))
        return f"ablation.{place}: YAML reads a name there as {error['input']}; put it in quotes"
    if error["loc"] == ("claim",):
        return f"ablation.claim: should be a sentence, or text and expect; not {error['input']!r}"
    if error["loc"][:1] == ("seeds",):
        return f"ablation.seeds: should be how many (5), or a list ([0, 1]); not {error['input']!r}"
    message = error["msg"].removeprefix("Value error, ").replace("Input should", "should")
    if error["type"] == "value_error":
        return f"{where}.{message}"
    return f"{where}: {message[0].lower()}{message[1:]} (it is {error['input']!r})"
