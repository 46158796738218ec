"""Batches sliced out of tensors in memory, in an order that resumes exactly.

The order of an epoch is a function of (seed, epoch) and the position counts whole batches. So two
integers in a checkpoint are enough to continue an epoch in its middle, with its remaining batches.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from ablab.errors import CheckpointError

Tensors = Sequence[Tensor]
Augment = Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]]
_LARGE_ROW = 1024  # elements of a row above which tensors are not copied in the epoch's order
_LARGE_COPY = 1 << 26  # bytes above which they are not


class TensorLoader:
    """An iterable over the batches ``tuple(t[rows] for t in tensors)`` left in an epoch.

    Args:
        tensors: equal in their first dimension, the rows.
        batch_size: rows of a batch on this rank. The last batch has the remaining rows; a single
            remaining row joins the batch before, since batch norm cannot normalise one row.
        seed: seed of the order; None keeps the order of the rows.
        epoch: number of the first epoch.
        rank, world_size: this rank takes every ``world_size``-th row of the order. Rows that do not
            divide evenly are left out of the epoch, so that all ranks take equally many steps.
        augment: function that changes a batch at random. It draws from torch's global generator,
            which is seeded by (seed, epoch, batch, rank) first.
        limit: the largest number of batches in an epoch.
    """

    def __init__(
        self,
        tensors: Tensors,
        batch_size: int,
        *,
        seed: int | None = None,
        epoch: int = 0,
        rank: int = 0,
        world_size: int = 1,
        augment: Augment | None = None,
        limit: int | None = None,
    ) -> None:
        self.tensors = tuple(tensors)
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.augment = augment
        self.epoch = epoch
        self.position = 0  # batches of this epoch that have been yielded
        self.rows = len(self.tensors[0]) // world_size
        whole, rest = divmod(self.rows, self.batch_size)
        self.lone_row = rest == 1 and whole > 0
        batches = whole + (rest > 0 and not self.lone_row)
        self.batches = batches if limit is None else min(batches, limit)

    def __len__(self) -> int:
        return self.batches

    def order(self, epoch: int) -> Tensor:
        """Return the row numbers of ``epoch`` on this rank, int64 (rows,)."""
        total = len(self.tensors[0])
        if self.seed is None:
            order = torch.arange(total)
        else:
            generator = torch.Generator().manual_seed(hash((self.seed, epoch)) % 2**63)
            order = torch.randperm(total, generator=generator)
        return order[self.rank : self.rows * self.world_size : self.world_size]

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        if self.position == len(self):
            self.epoch, self.position = self.epoch + 1, 0
        tensors = self.tensors
        order = None
        if self.seed is not None or self.world_size > 1:
            order = self.order(self.epoch).to(tensors[0].device)
            if self._permute_at_once:
                # Slicing a permuted copy is much faster than indexing in each batch.
                tensors, order = tuple(t[order] for t in tensors), None
            else:
                order = order.int()
        for number in range(self.position, len(self)):
            # Count the batch before it is yielded, so that a checkpoint made in its step does not
            # repeat it. Lightning does not read ahead in a loader that has a length.
            self.position = number + 1
            start = number * self.batch_size
            stop = start + self.batch_size
            rows = slice(start, stop + (self.lone_row and stop + 1 == self.rows))
            if order is None:
                batch = tuple(t[rows] for t in tensors)
            else:
                batch = tuple(t.index_select(0, order[rows]) for t in tensors)
            if self.augment is not None:
                torch.manual_seed(hash((self.seed, self.epoch, number, self.rank)) % 2**63)
                batch = self.augment(batch)
            yield batch

    @property
    def _permute_at_once(self) -> bool:
        """True if a permuted copy of the tensors is made for each epoch.

        It does not pay for large rows, such as images, or for tables that take much memory.
        """
        small_rows = all(t[0].numel() <= _LARGE_ROW for t in self.tensors)
        return small_rows and sum(t.nbytes for t in self.tensors) <= _LARGE_COPY

    def state_dict(self) -> dict[str, Any]:
        """Return plain integers; the end of an epoch counts as the start of the next."""
        ended = self.position == len(self)
        return {
            "epoch": self.epoch + ended,
            "position": 0 if ended else self.position,
            **self._identity(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load the position. Raises CheckpointError if the batches were drawn in another order."""
        own = self._identity()
        differing = [k for k in own if state.get(k) != own[k]]
        if differing:
            told = ", ".join(f"{k} {state.get(k)} (now {own[k]})" for k in differing)
            raise CheckpointError(f"the batches of the checkpoint were drawn with {told}")
        self.epoch, self.position = state["epoch"], state["position"]

    def _identity(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "batch_size": self.batch_size,
            "rows": self.rows,
            "world_size": self.world_size,
            "batches": self.batches,
        }


class Executions:
    """An iterable over a loader's batches in lists of ``size``; the last list may be shorter.

    Lightning is given a list at a time, so that its own work is done once for several steps.
    """

    def __init__(self, loader: TensorLoader, size: int) -> None:
        self.loader = loader
        self.size = size

    def __len__(self) -> int:
        return -(-len(self.loader) // self.size)

    def __iter__(self) -> Iterator[list[tuple[Tensor, ...]]]:
        batches = iter(self.loader)
        while execution := list(islice(batches, self.size)):
            yield execution

    def state_dict(self) -> dict[str, Any]:
        return self.loader.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.loader.load_state_dict(state)
