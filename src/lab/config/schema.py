"""The typed schema of a run's config: what may be said, of which type, within which range.

Nodes with a ``_target_`` (model, data, trainer, …) are free-form here; ``lab.config.check`` holds
them against the signature of the class they name. Nothing in this package imports torch.
"""

from typing import Annotated, Any, Literal

from pydantic import AllowInfNan, BaseModel, ConfigDict, Field, Strict

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


# Metrics, phases and the like are named in files, tables and the keys of others
NAME = r"^[^\W\d_][\w-]*$"
Name = Annotated[Text, Field(pattern=NAME)]


class Section(BaseModel):
    """A part of the config in which an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


# -- learning rates over layer groups (input -> output); ``optim.lr`` is that of the last group ----


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


LrSpread = Annotated[
    UniformSpread | FlatSpread | GeometricSpread | LinearSpread | LayerDecaySpread | MultSpread,
    Field(discriminator="kind"),
]

Role = Literal["weight", "bias", "norm", "embedding", "embedding_bias", "other"]


class WeightDecay(Section):
    """What weight decay means (``mode``), how strong it is, and which roles are spared."""

    mode: Literal["none", "l2_loss", "l2", "decoupled", "independent"]
    value: NotNegative = 0.0
    skip: tuple[Role, ...] = ()


# -- optimisers and schedules ---------------------------------------------------------------------


class OptimBase(Section):
    lr: Positive
    lr_spread: LrSpread = UniformSpread(kind="uniform")
    weight_decay: WeightDecay


class SGD(OptimBase):
    """Plain (``momentum: 0``), with momentum, or with Nesterov's momentum."""

    name: Literal["sgd"]
    momentum: Fraction = 0.0
    nesterov: Flag = False


class RMSprop(OptimBase):
    name: Literal["rmsprop"]
    alpha: Fraction = 0.99
    eps: Positive = 1e-8
    momentum: Fraction = 0.0


class Adam(OptimBase):
    """``fused``: one kernel a step; faster, and equal to the loop over tensors but for rounding."""

    name: Literal["adam"]
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    eps: Positive = 1e-8
    fused: Flag = False


class RowwiseAdagrad(OptimBase):
    """AdaGrad with one accumulator for each row of a table; takes sparse gradients."""

    name: Literal["rowwise_adagrad"]
    eps: Positive = 1e-8


Optim = Annotated[SGD | RMSprop | Adam | RowwiseAdagrad, Field(discriminator="name")]


class Constant(Section):
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
    """From ``lr`` down to ``final_ratio * lr`` over the whole run, along half a cosine."""

    name: Literal["cosine"]
    final_ratio: Annotated[Number, Field(ge=0, le=1)] = 0.0


class Step(Section):
    """``lr * gamma ** (number of milestones passed)``; milestones are fractions of the run."""

    name: Literal["step"]
    milestones: tuple[Annotated[Number, Field(gt=0, lt=1)], ...]
    gamma: Positive = 0.1


Schedule = Annotated[Constant | OneCycle | Cosine | Step, Field(discriminator="name")]


# -- the rest of a run ----------------------------------------------------------------------------


class Phase(Section):
    """A fit of its own; what is None is as the run's ``optim`` and ``schedule`` say.

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
    """What is minimised, what is measured, and the one place that states what "better" means."""

    loss: Node
    metrics: dict[Name, Node]
    metric: Text
    mode: Literal["min", "max"]


class Seeds(Section):
    split: Seed
    init: Seed
    order: Seed


class Checkpoints(Section):
    """When checkpoints are written; the newest ``keep`` and the best one stay."""

    every_n_steps: Count | None = None
    keep: Annotated[Integer, Field(ge=2)] = 2


class LrFind(Section):
    """The range test: ``steps`` learning rates in equal ratios from ``first`` to ``last``.

    It ends early where the smoothed loss is over ``divergence`` times its best. Of a run in phases
    it is a test of ``phase``, the first where that is None.
    """

    first: Positive = 1e-7
    last: Positive = 10.0
    steps: Annotated[Integer, Field(ge=20)] = 100  # the ends are not read: fewer leave no curve
    divergence: Annotated[Number, Field(gt=1)] = 4.0
    phase: Text | None = None


class Paths(Section):
    data: Text
    runs: Text


FolderName = Annotated[Text, Field(pattern=r"^\w[\w.+-]*$")]
CsvName = Annotated[Text, Field(pattern=r"^\w[\w.-]*\.csv$", max_length=100)]


class Config(Section):
    name: FolderName
    task: Literal["fit", "test", "predict", "lr_find"]
    run: Text | None
    test: Flag
    seed: Seed
    seeds: Seeds
    threads: Count | None
    steps_per_execution: Count = 1
    error_if_nonfinite: NonFiniteCheck = "loss"
    data: Node
    model: Node
    objective: Objective
    optim: Optim
    schedule: Schedule
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
        """Whether the data part that everything is chosen by exists."""
        return self.data.get("validation_fraction", 1.0) != 0
