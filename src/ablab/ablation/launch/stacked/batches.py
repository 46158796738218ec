"""The training batches of a stack: those of each order of rows, side by side."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ablab.data.batches import RowLoader


def batches_of(
    orders: Sequence[RowLoader], tensors: Sequence[Tensor], epoch: int
) -> Iterator[tuple[Tensor, ...]]:
    """Yield the batches of an epoch, their tensors (orders, rows, …)."""
    rows = torch.stack([order.order(epoch) for order in orders]).to(tensors[0].device)
    for number in range(len(orders[0])):
        of_batch = rows[:, orders[0].places(number)]
        yield tuple(
            t.index_select(0, of_batch.flatten()).unflatten(0, of_batch.shape) for t in tensors
        )
