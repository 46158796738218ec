"""Embeddings of which a step touches only the rows that a batch has read.

Decoupled decay multiplies every row at each step. All rows of a table share the factor, so it is
kept once, beside them: with θ = c · φ, where φ is stored,

    θ ← (1 - s) θ        is   c ← (1 - s) c
    θ_r ← θ_r - u_r      is   φ_r ← φ_r - u_r / c

(Bottou 2012, "Stochastic Gradient Descent Tricks"). A row that is not read for a
thousand steps costs nothing, and is decayed exactly as if it had been multiplied at each of them.
"""

from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

_LEAST_SCALE = 2.0**-20  # below it c goes into the rows, long before φ could overflow


class LazilyDecayedEmbedding(nn.Embedding):
    """An embedding with sparse gradients; its rows θ are ``scale`` · ``weight``.

    In eval mode ``weight`` is θ itself, ``scale`` being 1: whoever reads the weight whole does so
    there. A state dict has both as they are, so that writing one does not change the training.
    """

    scale: Tensor

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__(rows, columns, sparse=True)
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))

    def forward(self, input: Tensor) -> Tensor:
        """Indices (...) -> θ of these rows (..., columns)."""
        rows = functional.embedding(input, self.weight, sparse=True)
        return _Scaled.apply(rows, self.scale)  # type: ignore[return-value]

    def train(self, mode: bool = True) -> Self:
        if not mode:
            self.apply_decay()
        return super().train(mode)

    @torch.no_grad()
    def apply_decay(self) -> None:
        """Put the scale into the rows."""
        if self.scale != 1:
            self.weight.mul_(self.scale)
            self.scale.fill_(1)

    @torch.no_grad()
    def decay(self, shrink: float) -> None:
        """θ ← (1 - shrink) θ, of all rows; ``shrink`` is below 1."""
        self.scale.mul_(1 - shrink)
        if self.scale < _LEAST_SCALE:
            self.apply_decay()

    def in_stored_units(self, update: Tensor) -> Tensor:
        """What to add to ``weight`` for ``update`` to be added to θ."""
        return update / self.scale.to(update.dtype)


class _Scaled(torch.autograd.Function):
    """rows · scale, with the gradient of θ, not that of φ: what a dense table's gradient is."""

    generate_vmap_rule = True

    @staticmethod
    def forward(rows: Tensor, scale: Tensor) -> Tensor:
        return rows * scale

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None: ...

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return grads[0], None


def has_sparse_gradients(model: nn.Module) -> bool:
    return any(
        isinstance(module, nn.Embedding | nn.EmbeddingBag) and module.sparse
        for module in model.modules()
    )
