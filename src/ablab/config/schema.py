"""The typed schema of a run's config: its keys, their types and their ranges.

Nodes with a ``_target_`` (model, data, trainer, …) are free-form here; ``ablab.config.nodes``
checks them against the signature of the class that they name. This package never imports torch.

The file is longer than 250 lines because the whole schema is read in one place.
"""

import re
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    AllowInfNan,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Strict,
    Tag,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from ablab.config.metric_names import monitored

Integer = Annotated[int, Strict()]
Number = Annotated[float, Strict(), AllowInfNan(False)]
Flag = Annotated[bool, Strict()]
Text = Annotated[str, Strict()]
Positive = Annotated[Number, Field(gt=0)]
NotNegative = Annotated[Number, Field(ge=0)]
Fraction = Annotated[Number, Field(ge=0, lt=1)]
Count = Annotated[Integer, Field(ge=1)]
Seed = Annotated[Integer, Field(ge=0, lt=2**32)]
Part = Literal["train", "val", "test"]
NonFiniteCheck = Literal["loss", "gradients", "none"]
Node = dict[str, Any]


# Names of metrics, phases and the like become file names, table headers and parts of other keys.
NAME = r"^[^\W\d_][\w-]*$"
Name = Annotated[Text, Field(pattern=NAME)]


class Section(BaseModel):
    """A section of the config, in which an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


OWN = "own"  # the tag of a section that names a class or function of the user's by ``_target_``


def _chosen_by(key: str) -> Discriminator:
    """Return what chooses the class of a section: its ``_target_`` if it has one, else ``key``."""

    def choose(value: Any) -> Any:
        if isinstance(value, dict):
            return OWN if "_target_" in value else str(value[key]) if key in value else None
        return OWN if isinstance(value, Own) else getattr(value, key, OWN)

    choose.__name__ = key  # pydantic names the discriminator so in its errors
    return Discriminator(choose)


def _class_or_path(target: Any) -> str | Callable[..., Any]:
    if isinstance(target, str) or callable(target):
        return target
    reason = "should be the dotted path of a class or function"
    raise PydanticCustomError("target", "{reason}", {"reason": reason})


class Own(Section):
    """A class or function of torch, of a package or of the user's, with its own arguments.

    ``config.optimisation`` checks the arguments; where no config is, it may be the class itself.
    """

    model_config = ConfigDict(extra="allow", serialize_by_alias=True, validate_by_name=True)
    tag: ClassVar[str] = OWN
    target: Annotated[Any, AfterValidator(_class_or_path), Field(alias="_target_")]

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments for the class or function, as they are written."""
        return dict(self.model_extra or {})

    @property
    def label(self) -> str:
        """The name of the class or function, without its package."""
        target = self.target
        return target.rpartition(".")[2] if isinstance(target, str) else target.__name__


def _without(key: str) -> Any:
    """Return a validator that drops ``key``, which a file may have set before a ``_target_``."""

    def drop(value: Any) -> Any:
        return {k: v for k, v in value.items() if k != key} if isinstance(value, dict) else value

    return model_validator(mode="before")(drop)


# -- learning rates over layer groups (input -> output); ``optim.lr`` is the last group's ---------


class UniformSpread(Section):
    """Every group learns at ``lr``."""

    kind: Literal["uniform"]


class FlatSpread(Section):
    """The last group learns at ``lr``, all others at ``lr / div`` (fastai's ``slice(lr)``)."""

    kind: Literal["flat"]
    div: Positive = 3.0


class GeometricSpread(Section):
    """Equal ratios from ``first`` to ``lr`` (fastai's ``slice(first, lr)``)."""

    kind: Literal["geometric"]
    first: Positive


class LinearSpread(Section):
    """Equal steps from ``first`` to ``lr`` (the wording of the lesson's notes)."""

    kind: Literal["linear"]
    first: Positive


class LayerDecaySpread(Section):
    """Each group learns at ``factor`` times the rate of the group after it."""

    kind: Literal["layer_decay"]
    factor: Positive = 0.75


class MultSpread(Section):
    """Each named group learns at its own multiple of ``lr``; every group must be named."""

    kind: Literal["mult"]
    multipliers: dict[str, Positive]


class OwnSpread(Own):
    """The function ``_target_(lr, names, …)`` returns the rate of each group."""

    _drop = _without("kind")

    @property
    def kind(self) -> str:
        return str(self.target)


LrSpread = Annotated[
    Annotated[UniformSpread, Tag("uniform")]
    | Annotated[FlatSpread, Tag("flat")]
    | Annotated[GeometricSpread, Tag("geometric")]
    | Annotated[LinearSpread, Tag("linear")]
    | Annotated[LayerDecaySpread, Tag("layer_decay")]
    | Annotated[MultSpread, Tag("mult")]
    | Annotated[OwnSpread, Tag(OWN)],
    _chosen_by("kind"),
]

Role = Literal["weight", "bias", "norm", "embedding", "embedding_bias", "other"]


DecayMode = Literal["none", "l2_loss", "l2", "decoupled", "independent", "cautious", "corrected"]


class WeightDecay(Section):
    """The meaning of weight decay (``mode``), its strength, and the roles without it (``skip``)."""

    mode: DecayMode
    value: NotNegative = 0.0
    skip: tuple[Role, ...] = ()


# -- optimisers and schedules ---------------------------------------------------------------------


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        reason = f"should be a regular expression ({error})"
        raise PydanticCustomError("pattern", "{reason}", {"reason": reason}) from error
    return text


class Match(Section):
    """Which parameters a rule is about; what is not stated matches all.

    ``group`` is the name or the index of a layer group (-1: the last), ``name`` a regular
    expression that is searched in the parameter's name.
    """

    role: Role | None = None
    ndim: Annotated[Integer, Field(ge=0)] | None = None
    group: Text | Integer | None = None
    name: Annotated[Text, AfterValidator(_pattern)] | None = None


class OwnOptimizer(Own):
    """An optimiser by ``_target_`` with its own arguments."""


class Rule(Section):
    """The parameters of a rule have an optimiser, a factor on the rate, a decay of their own."""

    match: Match
    optimizer: OwnOptimizer | None = None
    lr: Positive = 1.0
    weight_decay: WeightDecay | None = None


class OptimBase(Section):
    """The settings that every optimiser has. Of the rules that match a parameter, the first wins.

    ``target`` and ``arguments`` are the class that is built and what it is given.
    """

    lr: Positive
    lr_spread: LrSpread = UniformSpread(kind="uniform")
    weight_decay: WeightDecay
    rules: tuple[Rule, ...] = ()

    @model_serializer(mode="wrap")
    def _without_empty_rules(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A config without rules keeps the identity that it had before there were any.
        return {k: v for k, v in handler(self).items() if k != "rules" or v}

    @property
    def label(self) -> str:
        """The names of the optimisers, those of the rules last."""
        own = [rule.optimizer.label for rule in self.rules if rule.optimizer]
        return ", ".join(dict.fromkeys([self.name, *own]))  # type: ignore[attr-defined]

    def _own_arguments(self) -> dict[str, Any]:
        own = type(self).model_fields.keys() - OptimBase.model_fields.keys() - {"name"}
        return {key: getattr(self, key) for key in own}


class SGD(OptimBase):
    """Plain (``momentum: 0``), with momentum, or with Nesterov's momentum."""

    target: ClassVar[str] = "torch.optim.SGD"
    name: Literal["sgd"]
    momentum: Fraction = 0.0
    nesterov: Flag = False

    arguments = property(OptimBase._own_arguments)


class RMSprop(OptimBase):
    """RMSprop, with momentum if it is above 0."""

    target: ClassVar[str] = "torch.optim.RMSprop"
    name: Literal["rmsprop"]
    alpha: Fraction = 0.99
    eps: Positive = 1e-8
    momentum: Fraction = 0.0

    arguments = property(OptimBase._own_arguments)


class Adam(OptimBase):
    """Adam; ``fused`` takes a step in one kernel: faster, and equal up to rounding."""

    target: ClassVar[str] = "torch.optim.Adam"
    name: Literal["adam"]
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    eps: Positive = 1e-8
    fused: Flag = False

    @property
    def arguments(self) -> dict[str, Any]:
        # With None torch chooses between its loop and its foreach implementation.
        return {"betas": self.betas, "eps": self.eps, "fused": self.fused or None}


class AnyOptimizer(Own, OptimBase):
    """Any subclass of torch.optim.Optimizer, named by ``_target_``; its weight decay is ours."""

    model_config = Own.model_config
    _drop = _without("name")

    @property
    def name(self) -> str:
        return Own.label.fget(self)  # type: ignore[attr-defined]

    label = OptimBase.label  # pyright: ignore[reportIncompatibleMethodOverride]


Optim = Annotated[
    Annotated[SGD, Tag("sgd")]
    | Annotated[RMSprop, Tag("rmsprop")]
    | Annotated[Adam, Tag("adam")]
    | Annotated[AnyOptimizer, Tag(OWN)],
    _chosen_by("name"),
]


class Constant(Section):
    """``lr`` over the whole run."""

    name: Literal["constant"]


class OneCycle(Section):
    """``up: cos`` is torch's shape, ``up: linear`` that of fastai 1.0.28, the course's version."""

    name: Literal["one_cycle"]
    pct_start: Annotated[Number, Field(gt=0, lt=1)] = 0.3
    div_factor: Positive = 25.0
    final_div_factor: Positive = 1e4
    up: Literal["cos", "linear"] = "cos"
    momentum: tuple[Fraction, Fraction] | None = (0.95, 0.85)


class Cosine(Section):
    """A fall from ``lr`` to ``final_ratio * lr`` over the whole run, along half a cosine."""

    name: Literal["cosine"]
    final_ratio: Annotated[Number, Field(ge=0, le=1)] = 0.0


class Step(Section):
    """``lr * gamma ** (number of milestones passed)``; milestones are fractions of the run."""

    name: Literal["step"]
    milestones: tuple[Annotated[Number, Field(gt=0, lt=1)], ...]
    gamma: Positive = 0.1


def _share_or_count(value: float) -> float:
    if value >= 1 and value != int(value):
        reason = "should be a share of the run below 1, or a whole number of steps"
        raise PydanticCustomError("length", "{reason}", {"reason": reason})
    return value


# A part of the run: below 1 a share of all steps, from 1 on a number of steps.
Length = Annotated[NotNegative, AfterValidator(_share_or_count)]
Ratio = Annotated[Number, Field(ge=0, le=1)]


class Linear(Section):
    """A linear warm-up to ``lr``, then a line down to ``final_ratio * lr`` at the last step."""

    name: Literal["linear"]
    warmup: Length = 0.0
    final_ratio: Ratio = 0.0


class WarmupCosine(Section):
    """A linear warm-up to ``lr``, then half a cosine down to ``final_ratio * lr``."""

    name: Literal["warmup_cosine"]
    warmup: Length = 0.05
    final_ratio: Ratio = 0.0


class WarmupStableDecay(Section):
    """A linear warm-up to ``lr``, a constant part, and a decay to ``final_ratio * lr`` at the end.

    A run can be made longer as long as it is not in its decay, if ``warmup`` is a number of steps.
    """

    name: Literal["warmup_stable_decay"]
    warmup: Length = 0.05
    decay: Length = 0.2
    shape: Literal["linear", "sqrt", "cosine"] = "linear"
    final_ratio: Ratio = 0.0


class InverseSqrt(Section):
    """A linear warm-up to ``lr``, then ``lr * sqrt(warmup / step)``, whatever the run's length."""

    name: Literal["inverse_sqrt"]
    warmup: Length = 0.05


class Plateau(Section):
    """``lr``, times ``gamma`` whenever ``monitor`` has not improved for ``patience`` validations.

    None takes the metric and the mode of the objective. An improvement is one by more than
    ``threshold`` times the best value.
    """

    name: Literal["plateau"]
    gamma: Annotated[Number, Field(gt=0, lt=1)] = 0.1
    patience: Annotated[Integer, Field(ge=0)] = 3
    threshold: NotNegative = 1e-4
    monitor: Text | None = None
    mode: Literal["min", "max"] | None = None


class OwnSchedule(Own):
    """``_target_(step, total_steps, …)``, a function, or a class whose objects are called so,
    returns the factor of the peak rate at a step."""

    _drop = _without("name")

    @property
    def name(self) -> str:
        return self.target if isinstance(self.target, str) else self.label


Schedule = Annotated[
    Annotated[Constant, Tag("constant")]
    | Annotated[OneCycle, Tag("one_cycle")]
    | Annotated[Cosine, Tag("cosine")]
    | Annotated[Step, Tag("step")]
    | Annotated[Linear, Tag("linear")]
    | Annotated[WarmupCosine, Tag("warmup_cosine")]
    | Annotated[WarmupStableDecay, Tag("warmup_stable_decay")]
    | Annotated[InverseSqrt, Tag("inverse_sqrt")]
    | Annotated[Plateau, Tag("plateau")]
    | Annotated[OwnSchedule, Tag(OWN)],
    _chosen_by("name"),
]


# -- the rest of a run ----------------------------------------------------------------------------


class Phase(Section):
    """A fit of its own; a setting that is None is taken from the run's ``optim`` and ``schedule``.

    ``freeze_to``: the first layer group that learns (negative: counted from the last). Norm layers
    of frozen groups keep learning, statistics included, unless ``train_norm`` is false.
    """

    epochs: Count
    freeze_to: Integer = 0
    train_norm: Flag = True
    lr: Positive | None = None
    lr_spread: LrSpread | None = None
    schedule: Schedule | None = None


class Objective(Section):
    """The loss that is minimised, the metrics, and the metric by which runs are compared.

    A module with its own steps has its loss and its metrics itself, and ``metric`` is then the name
    under which it logs one.
    """

    loss: Node | None = None
    metrics: dict[Name, Node] = {}
    metric: Text
    mode: Literal["min", "max"]


class Seeds(Section):
    """Seeds of the split of the data, of the initial weights, and of the order of rows."""

    split: Seed
    init: Seed
    order: Seed


class Loading(Section):
    """Rows of a batch on each process, and how samples are read that are not in memory.

    ``eval_batch_size`` None takes the data class's own; ``pin_memory`` None is for a GPU.
    """

    batch_size: Count = 64
    eval_batch_size: Count | None = None
    workers: Annotated[Integer, Field(ge=0)] = 0
    pin_memory: Flag | None = None
    persistent_workers: Flag = True


class Checkpoints(Section):
    """The times at which checkpoints are written; the newest ``keep`` and the best are kept."""

    every_n_steps: Count | None = None
    keep: Annotated[Integer, Field(ge=2)] = 2


class LrFind(Section):
    """The range test: ``steps`` learning rates in equal ratios from ``first`` to ``last``.

    It ends early where the smoothed loss is over ``divergence`` times its best. Of a run in phases
    it is a test of ``phase``, the first where that is None.
    """

    first: Positive = 1e-7
    last: Positive = 10.0
    steps: Annotated[Integer, Field(ge=20)] = 100  # both ends are skipped
    divergence: Annotated[Number, Field(gt=1)] = 4.0
    phase: Text | None = None


class Paths(Section):
    """Folders: where data are kept, and where run folders are made."""

    data: Text
    runs: Text


FolderName = Annotated[Text, Field(pattern=r"^\w[\w.+-]*$")]
CsvName = Annotated[Text, Field(pattern=r"^\w[\w.-]*\.csv$", max_length=100)]


class Config(Section):
    """The whole config of a run."""

    name: FolderName
    task: Literal["fit", "test", "predict", "lr_find"]
    run: Text | None
    test: Flag
    seed: Seed
    seeds: Seeds
    threads: Count | None
    steps_per_execution: Count = 1
    error_if_nonfinite: NonFiniteCheck = "loss"
    loading: Loading = Loading()
    data: Node
    model: Node
    objective: Objective
    optim: Optim | None  # None: the model's class configures its own optimisers
    schedule: Schedule | None
    phases: dict[Name, Phase] = {}
    trainer: Node
    checkpoints: Checkpoints
    lr_find: LrFind = LrFind()
    callbacks: dict[Name, Node | None]
    logger: dict[Name, Node | None]
    interpret: dict[Name, Node | None]
    paths: Paths

    @property
    def has_validation(self) -> bool:
        """True if there may be a validation part, by which checkpoints are chosen.

        Data that have none, though their config does not say so, are known when they are read.
        """
        left_out = "val" in self.data and self.data["val"] is None
        return self.data.get("validation_fraction", 1.0) != 0 and not left_out

    @property
    def monitor(self) -> str | None:
        """The metric by which checkpoints are chosen; None without a validation part.

        It is measured on the validation part, so the test part chooses nothing. A module with its
        own steps may name one of its training metrics.
        """
        has_own_loss = self.objective.loss is None
        measured = self.has_validation or has_own_loss
        return monitored(self.objective.model_dump()) if measured else None
