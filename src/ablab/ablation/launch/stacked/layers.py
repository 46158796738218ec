"""Linear layers under ``torch.func.vmap``, whose members may share the rows of a batch.

vmap multiplies a matrix for each member. One product of the rows with all weights does the same,
and reads the rows once. The weights come first in the product, since its gradient then lies in
memory as they do.
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


def linear_layers(model: nn.Module) -> list[nn.Linear]:
    """Return the linear layers with biases, whose forward is torch's own."""
    return [m for m in model.modules() if type(m) is nn.Linear and m.bias is not None]


@contextmanager
def joined(layers: Sequence[nn.Linear]) -> Iterator[None]:
    """In the block, have ``layers`` multiply rows that members share by the weights of all."""
    for layer in layers:
        layer.forward = lambda input, of=layer: _Linear.apply(input, of.weight, of.bias)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward
