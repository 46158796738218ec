"""The typed schema of a run's config: its keys, their types and their ranges.

Nodes with a ``_target_`` (model, data, trainer, …) are free-form here; ``ablab.config.nodes``
checks them against the signature of the class that they name. This package never imports torch.

The file is longer than 250 lines because the whole schema is read in one place.
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


# Names of metrics, phases and the like become file names, table headers and parts of other keys.
NAME = r"^[^\W\d_][\w-]*$"
Name = Annotated[Text, Field(pattern=NAME)]


class Section(BaseModel):
    """A section of the config, in which an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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


LrSpread = Annotated[
    UniformSpread | FlatSpread | GeometricSpread | LinearSpread | LayerDecaySpread | MultSpread,
    Field(discriminator="kind"),
]

Role = Literal["weight", "bias", "norm", "embedding", "embedding_bias", "other"]


class WeightDecay(Section):
    """The meaning of weight decay (``mode``), its strength, and the roles without it (``skip``)."""

    mode: Literal["none", "l2_loss", "l2", "decoupled", "independent"]
    value: NotNegative = 0.0
    skip: tuple[Role, ...] = ()


# -- optimisers and schedules ---------------------------------------------------------------------


class OptimBase(Section):
    """The settings that every optimiser has."""

    lr: Positive
    lr_spread: LrSpread = UniformSpread(kind="uniform")
    weight_decay: WeightDecay


class SGD(OptimBase):
    """Plain (``momentum: 0``), with momentum, or with Nesterov's momentum."""

    name: Literal["sgd"]
    momentum: Fraction = 0.0
    nesterov: Flag = False


class RMSprop(OptimBase):
    """RMSprop, with momentum if it is above 0."""

    name: Literal["rmsprop"]
    alpha: Fraction = 0.99
    eps: Positive = 1e-8
    momentum: Fraction = 0.0


class Adam(OptimBase):
    """Adam; ``fused`` takes a step in one kernel: faster, and equal up to rounding."""

    name: Literal["adam"]
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    eps: Positive = 1e-8
    fused: Flag = False


Optim = Annotated[SGD | RMSprop | Adam, Field(discriminator="name")]


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


Schedule = Annotated[Constant | OneCycle | Cosine | Step, Field(discriminator="name")]


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
    """The loss that is minimised, the metrics, and the metric by which runs are compared."""

    loss: Node
    metrics: dict[Name, Node]
    metric: Text
    mode: Literal["min", "max"]


class Seeds(Section):
    """Seeds of the split of the data, of the initial weights, and of the order of rows."""

    split: Seed
    init: Seed
    order: Seed


class Loading(Section):
    """Rows of a batch on each process; ``eval_batch_size`` None takes the data class's own."""

    batch_size: Count = 64
    eval_batch_size: Count | None = None


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
        """True if there is a validation part, by which checkpoints are chosen."""
        return self.data.get("validation_fraction", 1.0) != 0

    @property
    def monitor(self) -> str | None:
        """The metric by which checkpoints are chosen; None without a validation part.

        It is measured on the validation part only, so the test part chooses nothing.
        """
        return f"val/{self.objective.metric}" if self.has_validation else None
