"""The section ``optim``: an optimiser, its weight decay, its rules, and rates over layer groups.

A spread says what the layer groups learn at, input to output; ``optim.lr`` is the last group's.
"""

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    model_serializer,
)
from pydantic_core import PydanticCustomError

from ablab.config.schema.values import (
    OWN,
    Flag,
    Fraction,
    Integer,
    NotNegative,
    Own,
    Positive,
    Section,
    Text,
    chosen_by,
    without,
)


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

    _drop = without("kind")

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
    chosen_by("kind"),
]

Role = Literal["weight", "bias", "norm", "embedding", "embedding_bias", "other"]


DecayMode = Literal["none", "l2_loss", "l2", "decoupled", "independent", "cautious", "corrected"]


class WeightDecay(Section):
    """The meaning of weight decay (``mode``), its strength, and the roles without it (``skip``)."""

    mode: DecayMode
    value: NotNegative = 0.0
    skip: tuple[Role, ...] = ()


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        reason = f"should be a regular expression ({error})"
        raise PydanticCustomError("pattern", "{reason}", {"reason": reason}) from error
    return text


class Match(Section):
    """The parameters that a rule is for; a key that is left out matches all.

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
    _drop = without("name")

    @property
    def name(self) -> str:
        return Own.label.fget(self)  # type: ignore[attr-defined]

    label = OptimBase.label  # pyright: ignore[reportIncompatibleMethodOverride]


Optim = Annotated[
    Annotated[SGD, Tag("sgd")]
    | Annotated[RMSprop, Tag("rmsprop")]
    | Annotated[Adam, Tag("adam")]
    | Annotated[AnyOptimizer, Tag(OWN)],
    chosen_by("name"),
]
