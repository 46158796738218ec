"""Dropout of the members of a stack: each draws what it would draw alone.

A run alone seeds torch's generator before each batch by (seed, epoch, batch), and its layers draw
in the order in which they are called. Here the factors of all layers are drawn so for each member
ahead of the forward pass, which then only multiplies by them.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ablab.training.module import SupervisedModule

Call = tuple[str, tuple[int, ...]]  # the name of a layer, and the shape of a row of its input


def calls_of(model: SupervisedModule, batch: Sequence[Tensor]) -> list[Call]:
    """Return the calls of dropout layers in a forward pass of ``model``, in their order."""
    names: dict[Any, str] = {layer: name for name, layer in layers_of(model).items()}
    calls: list[Call] = []
    hooks = [
        layer.register_forward_pre_hook(
            lambda layer, inputs: calls.append((names[layer], tuple(inputs[0].shape[1:])))
        )
        for layer in names
    ]
    inputs, _ = model.split_batch(batch)
    try:
        with torch.no_grad():
            model.eval()(*inputs)
    finally:
        model.train()
        for hook in hooks:
            hook.remove()
    return calls


def draw(layers: Mapping[str, nn.Dropout], calls: Sequence[Call], like: Tensor) -> list[Tensor]:
    """Return the factors of each call for a batch of the rows, device and dtype of ``like``."""
    return [
        functional.dropout(like.new_ones((len(like), *shape)), layers[name].p, True)
        for name, shape in calls
    ]


@contextmanager
def multiplied(model: nn.Module, factors: Sequence[Tensor]) -> Iterator[None]:
    """In the block, have the dropout layers of ``model`` multiply by ``factors``, call by call."""
    left = iter(factors)
    layers = list(layers_of(model).values())
    for layer in layers:
        layer.forward = lambda input: input * next(left)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def layers_of(model: nn.Module) -> dict[str, nn.Dropout]:
    """Return the dropout layers that do something, by name."""
    return {n: m for n, m in model.named_modules() if isinstance(m, nn.Dropout) and m.p > 0}
