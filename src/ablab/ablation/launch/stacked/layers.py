"""Linear layers under ``torch.func.vmap``, where members share the rows that a layer is given.

vmap multiplies a matrix for each member. One product of the rows with all weights does the same,
and reads the rows once.
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
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], rows: Tensor, weight: Tensor, bias: Tensor
    ) -> tuple[Tensor, int]:
        del info
        if in_dims != (None, 0, 0) or rows.dim() != 2:
            return vmap(functional.linear, in_dims)(rows, weight, bias), 0
        output = functional.linear(rows, weight.flatten(0, 1), bias.flatten())
        return output.unflatten(1, bias.shape), 1


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
