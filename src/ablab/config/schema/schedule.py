"""The section ``schedule``: the factor of the peak learning rate over the steps of a run."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, Tag
from pydantic_core import PydanticCustomError

from ablab.config.schema.values import (
    OWN,
    Fraction,
    Integer,
    NotNegative,
    Number,
    Own,
    Positive,
    Section,
    Text,
    chosen_by,
    without,
)


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
    """A linear warm-up to ``lr``, then ``lr * sqrt((warmup + 1) / (step + 1))``."""

    name: Literal["inverse_sqrt"]
    warmup: Length = 0.05


class Plateau(Section):
    """``lr``, times ``gamma`` when ``monitor`` has not improved for over ``patience`` validations.

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

    _drop = without("name")

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
    chosen_by("name"),
]
