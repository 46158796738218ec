"""Schedules as pure functions of the step.

``lr(schedule, step, total_steps, peak)`` is the learning rate of optimiser step ``step`` (0-based)
of ``total_steps``, for a group whose peak is ``peak``; ratios between groups hold at every step.
"""

import math
from collections.abc import Callable
from functools import partial

from ablab.config.schema.schedule import (
    Constant,
    Cosine,
    InverseSqrt,
    Linear,
    OneCycle,
    OwnSchedule,
    Plateau,
    Schedule,
    Step,
    WarmupCosine,
    WarmupStableDecay,
)
from ablab.errors import ConfigError
from ablab.optim.own import call_of

Rate = Callable[[int, int, float], float]  # of (step, total_steps, peak)


def rate_of(schedule: Schedule) -> Rate:
    """Return ``lr`` of ``schedule``; a class of the user's is built once."""
    return _own_rate(schedule) if isinstance(schedule, OwnSchedule) else partial(lr, schedule)


def lr(schedule: Schedule, step: int, total_steps: int, peak: float) -> float:
    """Return the learning rate at ``step``; steps past the end get the rate of the last step."""
    step = min(step, total_steps - 1)
    match schedule:
        case OneCycle():  # first: to find that an object is of no such class takes longer
            start = peak / schedule.div_factor
            end = start / schedule.final_div_factor
            return _cycle(schedule, step, total_steps, start, peak, end, schedule.up)
        case Constant() | Plateau():  # a plateau's reductions are not of the step
            return peak
        case Cosine(final_ratio=ratio):
            fraction = step / max(total_steps - 1, 1)
            return peak * (ratio + (1 - ratio) * (1 + math.cos(math.pi * fraction)) / 2)
        case Step(milestones=milestones, gamma=gamma):
            return peak * gamma ** sum(step >= m * total_steps for m in milestones)
        case OwnSchedule():
            return _own_rate(schedule)(step, total_steps, peak)
    warmup = _steps(schedule.warmup, total_steps)
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    last = total_steps - 1
    match schedule:
        case InverseSqrt():
            return peak * math.sqrt((warmup + 1) / (step + 1))
        case Linear(final_ratio=ratio):
            return peak * _fall("linear", _fraction(step, warmup, last), ratio)
        case WarmupCosine(final_ratio=ratio):
            return peak * _fall("cosine", _fraction(step, warmup, last), ratio)
        case WarmupStableDecay(final_ratio=ratio, shape=shape):
            first = max(total_steps - _steps(schedule.decay, total_steps), warmup)
            # The first step of the decay already falls, so that as many steps do as are stated.
            return peak * _fall(shape, _fraction(step, first - 1, last), ratio)


def _steps(length: float, total_steps: int) -> int:
    """Return the steps of a part of a run that is a share of it (below 1) or a number of steps."""
    return round(length * total_steps) if length < 1 else int(length)


def _fraction(step: int, first: int, last: int) -> float:
    """Return how far ``step`` is from ``first`` (0) to ``last`` (1)."""
    return min(max(step - first, 0) / (last - first), 1.0) if last > first else 0.0


def _fall(shape: str, fraction: float, ratio: float) -> float:
    """Return the factor of a fall from 1 to ``ratio`` along ``shape``."""
    fallen = {
        "linear": fraction,
        "sqrt": math.sqrt(fraction),
        "cosine": (1 - math.cos(math.pi * fraction)) / 2,
    }[shape]
    return 1 - (1 - ratio) * fallen


def _own_rate(schedule: OwnSchedule) -> Rate:
    factor_at = call_of(schedule)

    def rate(step: int, total_steps: int, peak: float) -> float:
        step = min(step, total_steps - 1)
        returned = factor_at(step=step, total_steps=total_steps)
        try:
            factor = float(returned)
        except (TypeError, ValueError):
            factor = math.nan
        if not (math.isfinite(factor) and factor >= 0):
            raise ConfigError(
                f"schedule: {schedule.label} should return a factor of the peak rate, 0 or more; "
                f"at step {step} of {total_steps} it returned {returned!r}"
            )
        return peak * factor

    return rate


def momentum(schedule: Schedule, step: int, total_steps: int) -> float | None:
    """Return momentum (Adam's β₁) at ``step``, or None if the schedule leaves it as it is."""
    if not isinstance(schedule, OneCycle) or schedule.momentum is None:
        return None
    at_ends, at_peak = schedule.momentum
    step = min(step, total_steps - 1)
    return _cycle(schedule, step, total_steps, at_ends, at_peak, at_ends, schedule.up)


def _cycle(
    schedule: OneCycle,
    step: int,
    total_steps: int,
    start: float,
    peak: float,
    end: float,
    up: str,
) -> float:
    """Return the value at ``step`` of a rise from ``start`` to ``peak`` and a fall to ``end``.

    Both shapes use the arithmetic of their source, so that they agree with it to the last bit:

    - ``cos``: torch's OneCycleLR. It rises and falls along cosines, with its peak at step
      pct_start · total - 1. If that is not positive, torch divides by zero or runs backwards; here
      the first step is the peak.
    - ``linear``: fastai 1.0.28. It rises along a line and falls along a cosine, with its peak at
      step int(pct_start · total), and would reach the end only after the last step.
    """
    if up == "cos":
        peak_step = max(schedule.pct_start * total_steps - 1, 0.0)
        last = total_steps - 1
        if step <= peak_step:
            return _cosine(start, peak, step / peak_step) if peak_step else peak
        return _cosine(peak, end, (step - peak_step) / (last - peak_step))
    rising = int(total_steps * schedule.pct_start)
    if step < rising:
        return start + (step / rising) * (peak - start)
    return _cosine(peak, end, (step - rising) / (total_steps - rising))


def _cosine(start: float, end: float, fraction: float) -> float:
    return end + (start - end) / 2.0 * (math.cos(math.pi * fraction) + 1)


def steps_in_common(schedule: Schedule, before: int, after: int) -> int:
    """Return how many steps of a run of ``before`` steps have the rates of one of ``after``.

    Until then it can be continued as that one.
    """
    rate = rate_of(schedule)
    for step in range(before):
        if rate(step, before, 1.0) != rate(step, after, 1.0) or momentum(
            schedule, step, before
        ) != momentum(schedule, step, after):
            return step
    return before


def reductions(values: list[float], schedule: Plateau) -> int:
    """Return how often a plateau has reduced the rate after these validations.

    As torch's ReduceLROnPlateau with a relative threshold: one more than ``patience`` validations
    without an improvement on the best reduce it, and the count begins again.
    """
    sign = -1.0 if schedule.mode == "max" else 1.0
    best, waited, reduced = math.inf, 0, 0
    for value in values:
        signed = sign * value
        if best == math.inf or signed < best - schedule.threshold * abs(best):
            best, waited = signed, 0
        else:
            waited += 1
        if waited > schedule.patience:
            waited, reduced = 0, reduced + 1
    return reduced
