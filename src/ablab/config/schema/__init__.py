"""The typed schema of a run's config: its keys, their types and their ranges.

Nodes with a ``_target_`` (model, data, trainer, …) are free-form here; ``ablab.config.nodes``
checks them against the signature of the class that they name. This package never imports torch.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from ablab.config.metric_names import monitored
from ablab.config.schema.optimiser import LrSpread, Optim
from ablab.config.schema.schedule import Schedule
from ablab.config.schema.values import (
    NAME,
    OWN,
    Count,
    Flag,
    Fraction,
    Integer,
    Name,
    Node,
    NotNegative,
    Number,
    Own,
    Positive,
    Section,
    Seed,
    Text,
)

__all__ = [
    "NAME",
    "OWN",
    "Config",
    "Count",
    "CsvName",
    "Flag",
    "FolderName",
    "Fraction",
    "Integer",
    "LrSpread",
    "Name",
    "Node",
    "NonFiniteCheck",
    "NotNegative",
    "Number",
    "Objective",
    "Optim",
    "Own",
    "Part",
    "Phase",
    "Positive",
    "Schedule",
    "Section",
    "Seed",
    "Text",
]

Part = Literal["train", "val", "test"]
NonFiniteCheck = Literal["loss", "gradients", "none"]


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
    under which it logs one. ``train_metrics`` measures the chosen checkpoint on the training part
    too.
    """

    loss: Node | None = None
    metrics: dict[Name, Node] = Field(default_factory=dict)
    metric: Text
    mode: Literal["min", "max"]
    train_metrics: Flag = False

    @model_serializer(mode="wrap")
    def _without_default(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A config that does not ask for them keeps the identity that it had before it could.
        return {k: v for k, v in handler(self).items() if k != "train_metrics" or v}


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
    phases: dict[Name, Phase] = Field(default_factory=dict)
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
