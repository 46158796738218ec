"""Layer groups and roles: the learning rate and the weight decay of each parameter.

These are pure functions of the model and the config. Their result is a list that can be printed,
tested, and turned into an optimiser (``ablab.optim.optimizers``).
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from ablab.config.schema.optimiser import (
    DecayMode,
    FlatSpread,
    GeometricSpread,
    LayerDecaySpread,
    LinearSpread,
    LrSpread,
    Match,
    MultSpread,
    Optim,
    OwnSpread,
    Role,
    UniformSpread,
)
from ablab.errors import ConfigError
from ablab.optim.own import call_of

LayerGroups = Mapping[str, Sequence[nn.Module | nn.Parameter]]

NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm, nn.RMSNorm)
_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)
_WRAPPERS = ("_orig_mod.", "_fsdp_wrapped_module.")


class BiasEmbedding(nn.Embedding):
    """An embedding of biases; its role is ``embedding_bias``."""


@dataclass(frozen=True)
class ParameterPlan:
    """The treatment of a parameter by its optimiser.

    ``lr`` is the peak rate of its group; ``weight_decay`` is 0.0 if the parameter does not decay.
    ``rule`` is the number of the rule that claims it, None if no rule does.
    """

    name: str
    group: str
    role: Role
    lr: float
    weight_decay: float
    trainable: bool
    mode: DecayMode = "none"
    rule: int | None = None


def clean_name(name: str) -> str:
    """Return a parameter's name without the prefixes of torch.compile and FSDP."""
    for wrapper in _WRAPPERS:
        name = name.replace(wrapper, "")
    return name


def classify(model: nn.Module) -> dict[str, Role]:
    """Return the role of each parameter, by its clean name, from the type of its owning module.

    Name and number of dimensions are no guide: they would take ``nn.Embedding(n, 1)``, the biases
    of items, for a weight, and under FSDP every shard has one dimension. A parameter that several
    modules share has the role that it has in the first of them.
    """
    roles: dict[str, Role] = {}
    seen: set[int] = set()
    for module_name, module in model.named_modules():
        for short_name, parameter in module.named_parameters(recurse=False):
            if id(parameter) in seen:
                continue
            seen.add(id(parameter))
            name = f"{module_name}.{short_name}" if module_name else short_name
            roles[clean_name(name)] = _role(module, short_name)
    return roles


def _role(owner: nn.Module, short_name: str) -> Role:
    if isinstance(owner, NORMS):
        return "norm"
    if isinstance(owner, _EMBEDDINGS):
        is_bias = isinstance(owner, BiasEmbedding) or owner.embedding_dim == 1
        return "embedding_bias" if is_bias else "embedding"
    if type(owner).__module__.startswith("torch.nn."):
        # torch's own layers name their biases so: bias, bias_ih_l0, in_proj_bias, bias_k, …
        return "bias" if "bias" in short_name else "weight"
    return "other"


def spread_lrs(lr: float, names: Sequence[str], spread: LrSpread) -> list[float]:
    """Return the peak learning rate of each group, input to output; a single group gets ``lr``.

    Raises:
        ConfigError: ``mult`` does not name exactly the model's groups.
    """
    n = len(names)
    if isinstance(spread, MultSpread):
        if set(spread.multipliers) != set(names):
            raise ConfigError(
                f"optim.lr_spread.multipliers: names {sorted(spread.multipliers)}, "
                f"but the model's groups are {list(names)}; each needs one multiplier"
            )
        return [lr * spread.multipliers[name] for name in names]
    if isinstance(spread, OwnSpread):
        return _own_rates(spread, lr, names)
    if n == 1:
        return [lr]
    match spread:
        case UniformSpread():
            return [lr] * n
        case FlatSpread(div=div):
            return [lr / div] * (n - 1) + [lr]
        case GeometricSpread(first=first):
            return [first * (lr / first) ** (i / (n - 1)) for i in range(n - 1)] + [lr]
        case LinearSpread(first=first):
            return [first + (lr - first) * i / (n - 1) for i in range(n - 1)] + [lr]
        case LayerDecaySpread(factor=factor):
            return [lr * factor ** (n - 1 - i) for i in range(n)]


def _own_rates(spread: OwnSpread, lr: float, names: Sequence[str]) -> list[float]:
    rates = call_of(spread)(lr=lr, names=list(names))
    try:
        found = [float(rate) for rate in rates]
    except (TypeError, ValueError):
        found = []
    if len(found) != len(names) or not all(math.isfinite(r) and r > 0 for r in found):
        raise ConfigError(
            f"optim.lr_spread: {spread.label} should return a positive rate for each of the groups "
            f"{list(names)} (it returned {rates!r})"
        )
    return found


def plan_parameters(model: nn.Module, optim: Optim) -> list[ParameterPlan]:
    """Return a plan for each parameter, ordered by group and then as in the model.

    Raises:
        ConfigError: ``layer_groups()`` omits a parameter, holds one twice, or has an empty group;
            or a rule claims no parameter.
    """
    group_of = _group_of_parameter(model)
    groups = list(dict.fromkeys(_layer_groups(model)))
    lrs = dict(zip(groups, spread_lrs(optim.lr, groups, optim.lr_spread), strict=True))
    roles = classify(model)
    plans = []
    for name, parameter in model.named_parameters():
        name = clean_name(name)
        group, role = group_of[name], roles[name]
        claims = (
            number
            for number, rule in enumerate(optim.rules)
            if _matches(rule.match, name, role, parameter.ndim, group, groups)
        )
        number = next(claims, None)
        rule = None if number is None else optim.rules[number]
        decay = (rule and rule.weight_decay) or optim.weight_decay
        spared = decay.mode == "none" or role in decay.skip
        plans.append(
            ParameterPlan(
                name,
                group,
                role,
                lrs[group] * (rule.lr if rule else 1.0),
                0.0 if spared else float(decay.value),
                parameter.requires_grad,
                decay.mode,
                number,
            )
        )
    for number, rule in enumerate(optim.rules):
        if all(plan.rule != number for plan in plans):
            wanted = ", ".join(f"{k} {v!r}" for k, v in rule.match if v is not None)
            raise ConfigError(
                f"optim.rules.{number}: claims no parameter of {type(model).__name__} ({wanted}); "
                f"of the rules that match one, the first claims it. Its groups are {groups}, its "
                f"roles {sorted(set(roles.values()))}"
            )
    return sorted(plans, key=lambda plan: groups.index(plan.group))  # stable


def _matches(
    match: Match, name: str, role: Role, ndim: int, group: str, groups: Sequence[str]
) -> bool:
    wanted = match.group
    if isinstance(wanted, int):
        if not -len(groups) <= wanted < len(groups):
            raise ConfigError(f"optim.rules: no layer group {wanted}; there are {list(groups)}")
        wanted = groups[wanted]
    return (
        match.role in (None, role)
        and match.ndim in (None, ndim)
        and wanted in (None, group)
        and (match.name is None or re.search(match.name, name) is not None)
    )


def _layer_groups(model: nn.Module) -> LayerGroups:
    layer_groups = getattr(model, "layer_groups", None)
    return layer_groups() if callable(layer_groups) else {"all": [model]}  # type: ignore[return-value]


def _group_of_parameter(model: nn.Module) -> dict[str, str]:
    names = {id(p): clean_name(name) for name, p in model.named_parameters()}
    group_of: dict[str, str] = {}
    for group, parts in _layer_groups(model).items():
        parameters = [p for part in parts for p in parameters_of(part)]
        if not parameters:
            raise ConfigError(
                f"layer group '{group}' of {type(model).__name__} has no parameters; leave it "
                f"out of layer_groups()"
            )
        for parameter in parameters:
            name = names.get(id(parameter))
            if name is None:
                raise ConfigError(
                    f"layer group '{group}' of {type(model).__name__} holds a parameter that "
                    f"is not one of the model's"
                )
            if group_of.setdefault(name, group) != group:
                raise ConfigError(
                    f"parameter '{name}' of {type(model).__name__} is in two layer groups, "
                    f"'{group_of[name]}' and '{group}'; layer_groups() must hold it once"
                )
    missing = [name for name in names.values() if name not in group_of]
    if missing:
        raise ConfigError(
            f"layer_groups() of {type(model).__name__} must hold every parameter, and omits "
            f"{', '.join(missing)}"
        )
    return group_of


def parameters_of(part: nn.Module | nn.Parameter) -> list[nn.Parameter]:
    """Return the parameters of one part of a layer group."""
    return [part] if isinstance(part, nn.Parameter) else list(part.parameters())
