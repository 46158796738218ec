"""Build the optimiser of a model: named groups, an explicit decay, the classes of its rules."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ablab.config.schema.optimiser import Optim, OwnOptimizer
from ablab.errors import ConfigError
from ablab.optim.explicit_decay import (
    REMEDY,
    ExplicitDecay,
    Several,
    averages_weights,
    parts_of,
    with_explicit_decay,
)
from ablab.optim.groups import ParameterPlan, clean_name, plan_parameters
from ablab.optim.own import build, import_target

_Place = tuple[int, str, int | None]  # the optimiser, the layer group, and the rule of a parameter


def build_optimizer(model: nn.Module, optim: Optim) -> torch.optim.Optimizer:
    """Return an optimiser over every parameter, frozen ones included, so that groups never change.

    Each layer group becomes the parameter group ``NAME``, or ``NAME/decay`` and ``NAME/no_decay``
    if some of its roles do not decay; what a rule claims of it is ``NAME/RULE``. Groups hold
    strings and Python floats only, so that their state loads with ``weights_only=True``. The
    optimisers of rules come first, so that the last group is of the run's own optimiser.

    Raises:
        ConfigError: from ``plan_parameters``, or an optimiser refuses its arguments or parameters.
    """
    settings = [r.optimizer for r in optim.rules]
    groups = _parameter_groups(model, optim)
    parts = [
        _optimizer_of(settings[number] if number < len(settings) else None, found, optim)
        for number in range(len(settings) + 1)
        if (found := [group for of, group in groups if of == number])
    ]
    return parts[0] if len(parts) == 1 else Several(parts)


def _optimizer_of(
    own: OwnOptimizer | None, groups: list[dict[str, Any]], optim: Optim
) -> ExplicitDecay:
    source = own or optim
    cls, label = import_target(source.target), own.label if own else optim.name
    if not (isinstance(cls, type) and issubclass(cls, torch.optim.Optimizer)):
        raise ConfigError(f"optim: {label} is no torch.optim.Optimizer")
    arguments = {key: _as_tuple(value) for key, value in source.arguments.items()}
    if _takes_weight_decay(cls):
        arguments["weight_decay"] = 0.0
    try:
        with_decay = with_explicit_decay(cls)
        optimizer = build(with_decay, f"optim: {label}", groups, lr=optim.lr, **arguments)
    except ConfigError as error:
        told = " ".join(str(error).split()).removesuffix(".")
        raise ConfigError(f"{told}; {REMEDY}") from error
    # A fused one would unscale gradients within its step, after our l2, and leave out a step of
    # gradients that are not finite, but not its decay. Without this the scaler does both before.
    optimizer._step_supports_amp_scaling = False
    if averages_weights(optimizer):
        optimizer.train()
    return optimizer


def _takes_weight_decay(cls: type) -> bool:
    return any("weight_decay" in _parameters(c.__init__) for c in cls.__mro__[:-1])


def _parameters(function: Any) -> tuple[str, ...]:
    code = getattr(function, "__code__", None)
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount] if code else ()


def _as_tuple(value: Any) -> Any:
    """Return ``value`` with tuples for lists, as optimisers have their betas."""
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value


def _parameter_groups(model: nn.Module, optim: Optim) -> list[tuple[int, dict[str, Any]]]:
    """Return each parameter group with the number of its optimiser, in their order."""
    parameters = {clean_name(name): p for name, p in model.named_parameters()}
    members: dict[_Place, list[ParameterPlan]] = {}
    for plan in plan_parameters(model, optim):
        members.setdefault(_place(plan, optim), []).append(plan)
    labels = _rule_labels(optim)
    result = []
    for (number, group, rule), plans in sorted(members.items(), key=lambda item: item[0][0]):
        name = group if rule is None else f"{group}/{labels[rule]}"
        for label, part in _decayed_and_spared(name, plans):
            settings = {
                "name": label,
                "params": [(p.name, parameters[p.name]) for p in part],
                "lr": part[0].lr,
                "base_lr": part[0].lr,
                "weight_decay": 0.0,
                "decay_mode": part[0].mode,
                "decay_value": part[0].weight_decay,
            }
            result.append((number, settings))
    return result


def _place(plan: ParameterPlan, optim: Optim) -> _Place:
    last = len(optim.rules)  # the run's own optimiser comes after those of the rules
    if plan.rule is None:
        return last, plan.group, None
    rule = optim.rules[plan.rule]
    if rule.optimizer is not None:
        # Rules with the same optimiser share it.
        first = next(n for n, r in enumerate(optim.rules) if r.optimizer == rule.optimizer)
        return first, plan.group, plan.rule
    is_exception = rule.lr == 1.0 and rule.weight_decay is None  # to the rules after it
    return last, plan.group, None if is_exception else plan.rule


def _rule_labels(optim: Optim) -> list[str]:
    """Return a name for each rule, with its number where two would be equal."""
    names = [rule.optimizer.label if rule.optimizer else "rule" for rule in optim.rules]
    return [f"{n}{i}" if names.count(n) > 1 else n for i, n in enumerate(names)]


def _decayed_and_spared(
    name: str, plans: list[ParameterPlan]
) -> Iterator[tuple[str, list[ParameterPlan]]]:
    decayed = [p for p in plans if p.weight_decay > 0]
    spared = [p for p in plans if p.weight_decay == 0]
    both = bool(decayed) and bool(spared)
    for part, suffix in ((decayed, "/decay"), (spared, "/no_decay")):
        if part:
            yield f"{name}{suffix}" if both else name, part


@dataclass(frozen=True)
class GroupRow:
    """A parameter group as it is printed; ``frozen`` counts the tensors that do not learn."""

    name: str
    optimizer: str
    parameters: int
    tensors: int
    lr: float
    weight_decay: float
    mode: str
    frozen: int


def describe_groups(optimizer: torch.optim.Optimizer) -> list[GroupRow]:
    """Return a row for each parameter group, in the optimiser's order."""
    return [
        GroupRow(
            group["name"],
            type(part).__name__,
            sum(p.numel() for p in group["params"]),
            len(group["params"]),
            group["base_lr"],
            group["decay_value"],
            group["decay_mode"],
            sum(not p.requires_grad for p in group["params"]),
        )
        for part in parts_of(optimizer)
        for group in part.param_groups
    ]


def describe_optimizers(optimizer: torch.optim.Optimizer) -> list[str]:
    """Return the classes of an optimiser, or of its parts, with their packages."""
    classes = [type(part) for part in parts_of(optimizer)]
    return [f"{cls.__module__}.{cls.__qualname__}" for cls in classes]
