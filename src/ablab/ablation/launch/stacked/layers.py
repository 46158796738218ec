"""Linear and batch norm layers under ``torch.func.vmap``, whose members may share a batch.

vmap multiplies a matrix for each member. One product of the rows with all weights does the same,
and reads the rows once. The weights come first in the product, since its gradient then lies in
memory as they do. So the rows of a feature lie side by side in its output, and batch norm, whose
sums go over them, leaves them there: vmap's own would copy them into another order and back.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.autograd import Function
from torch.func import vmap
from torch.nn import functional


class _Linear(Function):
    """``functional.linear``, but for its rule under vmap, which alone is used."""

    @staticmethod
    def forward(*arguments: Any) -> Any:
        return functional.linear(*arguments)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        return

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *args: Tensor) -> tuple[Tensor, int]:
        del info
        rows, weight, bias = args
        if rows.dim() - (in_dims[0] is not None) != 2:
            return vmap(functional.linear, in_dims)(rows, weight, bias), 0
        if in_dims != (None, 0, 0):
            return vmap(_product, in_dims)(rows, weight, bias), 0
        output = _product(rows, weight.flatten(0, 1), bias.flatten())
        return output.unflatten(1, bias.shape), 1


def _product(rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return what ``functional.linear`` does; of this the gradient needs no transposed copy."""
    return (weight @ rows.mT + bias.unsqueeze(1)).mT


class _BatchNorm(Function):
    """``functional.batch_norm`` in training, but for its rule under vmap, which alone is used."""

    @staticmethod
    def forward(*arguments: Any) -> Any:
        return functional.batch_norm(*arguments)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        return

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> tuple[Tensor, int]:
        rows, mean, var, weight, bias, *settings = args
        if in_dims[0] is None:
            rows = rows.expand(info.batch_size, *rows.shape)
        else:
            rows = rows.movedim(in_dims[0], 0)
        # A channel for each feature of each member; the statistics are changed in place.
        as_one = rows.mT.reshape(1, -1, rows.shape[1])
        each = [tensor.view(-1) for tensor in (mean, var, weight, bias)]
        output = functional.batch_norm(as_one, *each, *settings)
        return output.view(info.batch_size, -1, rows.shape[1]).mT, 0


def _normalised(layer: nn.BatchNorm1d, rows: Tensor) -> Tensor:
    if not layer.training or rows.dim() != 2:
        return nn.BatchNorm1d.forward(layer, rows)
    assert layer.num_batches_tracked is not None
    layer.num_batches_tracked.add_(1)
    statistics = layer.running_mean, layer.running_var
    of_layer = (*statistics, layer.weight, layer.bias, True, layer.momentum, layer.eps)
    return _BatchNorm.apply(rows, *of_layer)  # pyright: ignore[reportReturnType]


def joined_layers(model: nn.Module) -> list[nn.Linear | nn.BatchNorm1d]:
    """Return the layers with rules of our own: those with all they can have, in torch's classes."""
    return [
        module
        for module in model.modules()
        if (type(module) is nn.Linear and module.bias is not None)
        or (
            type(module) is nn.BatchNorm1d
            and module.affine
            and module.track_running_stats
            and module.momentum is not None
        )
    ]


@contextmanager
def joined(layers: Sequence[nn.Linear | nn.BatchNorm1d]) -> Iterator[None]:
    """In the block, have ``layers`` compute what they do for all members at once."""
    for layer in layers:
        if isinstance(layer, nn.Linear):
            layer.forward = lambda input, of=layer: _Linear.apply(input, of.weight, of.bias)
        else:
            layer.forward = lambda input, of=layer: _normalised(of, input)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward
