"""Layer groups and roles: which learning rate and which weight decay each parameter gets.

Everything here is a pure function of the model and the config; the result is a list that can be
printed, tested, and turned into an optimiser (``ablab.optim.optimizers``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from ablab.config.schema import (
    FlatSpread,
    GeometricSpread,
    LayerDecaySpread,
    LinearSpread,
    LrSpread,
    MultSpread,
    Optim,
    Role,
    UniformSpread,
)
from ablab.errors import ConfigError

LayerGroups = Mapping[str, Sequence[nn.Module | nn.Parameter]]

NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm, nn.RMSNorm)
_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)
_WRAPPERS = ("_orig_mod.", "_fsdp_wrapped_module.")


class BiasEmbedding(nn.Embedding):
    """Biases looked up by index, one or several for each: its role is ``embedding_bias``."""


@dataclass(frozen=True)
class ParameterPlan:
    """How a parameter is optimised; ``lr`` is its group's peak, ``weight_decay`` 0.0 if spared."""

    name: str
    group: str
    role: Role
    lr: float
    weight_decay: float
    trainable: bool


def clean_name(name: str) -> str:
    """A parameter's name without what torch.compile and FSDP put into it."""
    for wrapper in _WRAPPERS:
        name = name.replace(wrapper, "")
    return name


def classify(model: nn.Module) -> dict[str, Role]:
    """The role of each parameter (clean name), by the type of the module that owns it.

    Never by its name or number of dimensions: those take ``nn.Embedding(n, 1)``, the bias of an
    item, for a weight, and under FSDP every shard has one dimension. Tied parameters count once.
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
        # of torch's own layers these are the names (bias, bias_ih_l0, in_proj_bias, bias_k, …)
        return "bias" if "bias" in short_name else "weight"
    return "other"


def spread_lrs(lr: float, names: Sequence[str], spread: LrSpread) -> list[float]:
    """The peak learning rate of each group, input to output; one group gets ``lr``.

    Raises:
        ConfigError: ``mult`` does not name exactly the groups.
    """
    n = len(names)
    if isinstance(spread, MultSpread):
        if set(spread.multipliers) != set(names):
            raise ConfigError(
                f"optim.lr_spread.multipliers: names {sorted(spread.multipliers)}, "
                f"but the model's groups are {list(names)}; each needs one multiplier"
            )
        return [lr * spread.multipliers[name] for name in names]
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


def plan_parameters(model: nn.Module, optim: Optim) -> list[ParameterPlan]:
    """Every parameter once, ordered by group and then as the model has them.

    Raises:
        ConfigError: ``layer_groups()`` leaves a parameter out, has it twice, or has an empty group.
    """
    group_of = _group_of_parameter(model)
    decay = optim.weight_decay
    groups = list(dict.fromkeys(_layer_groups(model)))
    lrs = dict(zip(groups, spread_lrs(optim.lr, groups, optim.lr_spread), strict=True))
    roles = classify(model)
    plans = []
    for name, parameter in model.named_parameters():
        name = clean_name(name)
        spared = decay.mode == "none" or roles[name] in decay.skip
        plans.append(
            ParameterPlan(
                name,
                group_of[name],
                roles[name],
                lrs[group_of[name]],
                0.0 if spared else float(decay.value),
                parameter.requires_grad,
            )
        )
    return sorted(plans, key=lambda plan: groups.index(plan.group))  # stable


def _layer_groups(model: nn.Module) -> LayerGroups:
    layer_groups = getattr(model, "layer_groups", None)
    return layer_groups() if callable(layer_groups) else {"all": [model]}  # type: ignore[return-value]


def _group_of_parameter(model: nn.Module) -> dict[str, str]:
    names = {id(p): clean_name(name) for name, p in model.named_parameters()}
    group_of: dict[str, str] = {}
    for group, parts in _layer_groups(model).items():
        parameters = [p for part in parts for p in parameters_of(part)]
        if not parameters:
            raise ConfigError(f"layer group '{group}' of {type(model).__name__} has no parameters")
        for parameter in parameters:
            name = names.get(id(parameter))
            if name is None:
                raise ConfigError(f"layer group '{group}' holds a parameter that the model has not")
            if group_of.setdefault(name, group) != group:
                raise ConfigError(f"'{name}' is in two layer groups: '{group_of[name]}', '{group}'")
    missing = [name for name in names.values() if name not in group_of]
    if missing:
        raise ConfigError(f"in no layer group of {type(model).__name__}: {', '.join(missing)}")
    return group_of


def parameters_of(part: nn.Module | nn.Parameter) -> list[nn.Parameter]:
    """The parameters of a part of a layer group."""
    return [part] if isinstance(part, nn.Parameter) else list(part.parameters())
