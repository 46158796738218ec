"""Freeze the first layer groups of a model; ``requires_grad`` is set before a fit begins."""

from collections.abc import Iterator

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ablab.errors import ConfigError
from ablab.optim.groups import NORMS, LayerGroups, parameters_of


def freeze_to(model: nn.Module, layer_groups: LayerGroups, n: int, *, train_norm: bool) -> None:
    """Let layer groups from index ``n`` on learn, and of the others only the norm layers.

    Args:
        train_norm: whether those norm layers do learn.

    Raises:
        ConfigError: there is no group ``n``.
    """
    groups = list(layer_groups.items())
    if not -len(groups) <= n < len(groups):
        names = ", ".join(f"{i} {name}" for i, (name, _) in enumerate(groups))
        raise ConfigError(f"freeze_to: there is no layer group {n}; the model has {names}")
    first = n % len(groups)
    for index, (_, parts) in enumerate(groups):
        for parameter in (p for part in parts for p in parameters_of(part)):
            parameter.requires_grad_(index >= first)
            parameter.grad = None
    if train_norm:
        for module in model.modules():
            if isinstance(module, NORMS):
                module.requires_grad_(True)


def frozen_batch_norms(model: nn.Module) -> Iterator[nn.Module]:
    """Yield the batch norms that do not learn; they keep their statistics (fastai's BnFreeze)."""
    for module in model.modules():
        if isinstance(module, _BatchNorm) and module.affine and not module.weight.requires_grad:
            yield module
