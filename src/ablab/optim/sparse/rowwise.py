"""Optimisers that step the rows of a sparse gradient and leave all others alone."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from ablab.optim.sparse.lazy_decay import LazilyDecayedEmbedding


class RowwiseSGD(torch.optim.SGD):
    """torch's SGD, also of lazily decayed embeddings; without momentum for sparse gradients."""

    lazily_decayed: Mapping[Tensor, LazilyDecayedEmbedding] = {}  # by their weight

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        for weight, embedding in self.lazily_decayed.items():
            if weight.grad is not None:
                weight.grad = embedding.in_stored_units(weight.grad)
        return super().step(closure)


class RowwiseAdagrad(RowwiseSGD):
    """AdaGrad with one accumulator a row (Naumov et al. 2019, arXiv 1906.00091; FBGEMM's
    EXACT_ROWWISE_ADAGRAD), of sparse and of dense gradients:

        G_r ← G_r + mean(g_r²),    θ_r ← θ_r - η g_r / (√G_r + ε)

    A row is what the first index of a tensor chooses, so each number of a vector is one. Where a
    batch has a row several times, g_r is the sum of its gradients.

    It is SGD along g_r / (√G_r + ε), which takes the place of the gradients.
    """

    def __init__(self, params: Iterable[Any], lr: float, eps: float = 1e-8) -> None:
        super().__init__(params, lr=lr)
        for group in self.param_groups:
            group["eps"] = eps

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.grad = self._direction(parameter, group["eps"])
        super().step()
        return loss

    def _direction(self, parameter: Tensor, eps: float) -> Tensor:
        grad, state = parameter.grad, self.state[parameter]
        assert grad is not None
        if not state:
            state["sum"] = parameter.new_zeros(parameter.shape[:1])
        if not grad.is_sparse:
            total = state["sum"].add_(_row_mean_square(grad))
            return grad / _to_rows(total.sqrt().add_(eps), grad)
        grad = grad.coalesce()
        rows, values = grad.indices()[0], grad.values()
        total = state["sum"].index_add_(0, rows, _row_mean_square(values))[rows]
        values = values / _to_rows(total.sqrt_().add_(eps), values)
        return torch.sparse_coo_tensor(
            grad.indices(), values, grad.shape, is_coalesced=True, check_invariants=False
        )


def _row_mean_square(values: Tensor) -> Tensor:
    """(rows, ...) -> (rows,); a scalar is a row of its own."""
    square = values.square()
    return square if square.dim() < 2 else square.flatten(1).mean(dim=1)


def _to_rows(per_row: Tensor, like: Tensor) -> Tensor:
    return per_row.reshape(per_row.shape + (1,) * (like.dim() - per_row.dim()))
