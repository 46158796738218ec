"""Batches of rows in an order that resumes exactly, and those that are sliced out of tensors.

The order of an epoch is a function of (seed, epoch) and the position counts whole batches. So two
integers in a checkpoint are enough to continue an epoch in its middle, with its remaining batches.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from lightning.fabric.utilities.data import sized_len
from torch import Tensor

from ablab.errors import CheckpointError

Tensors = Sequence[Tensor]
Augment = Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]]
_LARGE_ROW = 1024  # elements of a row above which tensors are not copied in the epoch's order
_LARGE_COPY = 1 << 26  # bytes above which they are not


class RowLoader:
    """An iterable over the batches left in an epoch; subclasses make them of row numbers.

    Args:
        total: the number of rows.
        batch_size: rows of a batch on this rank. The last batch has the remaining rows; a single
            remaining row joins the batch before, since batch norm cannot normalise one row.
        seed: seed of the order; None keeps the order of the rows.
        epoch: number of the first epoch.
        rank, world_size: this rank takes every ``world_size``-th row of the order. Rows that do not
            divide evenly are left out of the epoch, so that all ranks take equally many steps.
        weights: of the rows; an epoch then has ``total`` rows that are drawn by them, with
            replacement.
        limit: the largest number of batches in an epoch.
    """

    exact = True  # a killed run resumes in mid-epoch

    def __init__(
        self,
        total: int,
        batch_size: int,
        *,
        seed: int | None = None,
        epoch: int = 0,
        rank: int = 0,
        world_size: int = 1,
        weights: Tensor | None = None,
        limit: int | None = None,
    ) -> None:
        self.total = total
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.weights = weights
        self.epoch = epoch
        self.position = 0  # batches of this epoch that have been yielded
        self.rows = total // world_size
        whole, rest = divmod(self.rows, self.batch_size)
        self.lone_row = rest == 1 and whole > 0
        batches = whole + (rest > 0 and not self.lone_row)
        self.batches = batches if limit is None else min(batches, limit)

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError

    def order(self, epoch: int) -> Tensor:
        """Return the row numbers of ``epoch`` on this rank, int64 (rows,)."""
        if self.seed is None:
            order = torch.arange(self.total)
        else:
            generator = torch.Generator().manual_seed(hash((self.seed, epoch)) % 2**63)
            order = (
                torch.randperm(self.total, generator=generator)
                if self.weights is None
                else torch.multinomial(self.weights, self.total, True, generator=generator)
            )
        return order[self.rank : self.rows * self.world_size : self.world_size]

    def places(self, number: int) -> slice:
        """Return the places in the order of the rows of batch ``number``."""
        start = number * self.batch_size
        stop = start + self.batch_size
        return slice(start, stop + (self.lone_row and stop + 1 == self.rows))

    def begin_epoch(self) -> None:
        """Begin the next epoch if this one has ended; an evaluation draws the same in each."""
        if self.position == len(self):
            self.epoch, self.position = self.epoch + (self.seed is not None), 0

    def augmented(self, batch: tuple[Tensor, ...], number: int, augment: Augment) -> Any:
        """Return ``batch`` changed at random, as a function of (seed, epoch, number, rank)."""
        torch.manual_seed(hash((self.seed, self.epoch, number, self.rank)) % 2**63)
        return augment(batch)

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
        refuse_another_order(self._identity(), state)
        self.epoch, self.position = state["epoch"], state["position"]

    def _identity(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "batch_size": self.batch_size,
            "rows": self.rows,
            "world_size": self.world_size,
            "batches": self.batches,
        }


def refuse_another_order(own: dict[str, Any], state: dict[str, Any]) -> None:
    """Raise CheckpointError if a loader's state has other settings than its ``own``."""
    differing = [k for k in own if state.get(k) != own[k]]
    if differing:
        told = ", ".join(f"{k} {state.get(k)} (now {own[k]})" for k in differing)
        raise CheckpointError(f"the batches of the checkpoint were drawn with {told}")


class TensorLoader(RowLoader):
    """The batches ``tuple(t[rows] for t in tensors)``.

    Args:
        tensors: equal in their first dimension, the rows.
        augment: function that changes a batch at random. It draws from torch's global generator,
            which is seeded by (seed, epoch, batch, rank) first.
        settings: those of ``RowLoader``.
    """

    def __init__(
        self, tensors: Tensors, batch_size: int, *, augment: Augment | None = None, **settings: Any
    ) -> None:
        super().__init__(len(tensors[0]), batch_size, **settings)
        self.tensors = tuple(tensors)
        self.augment = augment

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        self.begin_epoch()
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
            rows = self.places(number)
            if order is None:
                batch = tuple(t[rows] for t in tensors)
            else:
                batch = tuple(t.index_select(0, order[rows]) for t in tensors)
            if self.augment is not None:
                batch = self.augmented(batch, number, self.augment)
            yield batch

    @property
    def _permute_at_once(self) -> bool:
        """True if a permuted copy of the tensors is made for each epoch.

        It does not pay for large rows, such as images, or for tables that take much memory.
        """
        small_rows = all(t[0].numel() <= _LARGE_ROW for t in self.tensors)
        return small_rows and sum(t.nbytes for t in self.tensors) <= _LARGE_COPY


class Executions:
    """An iterable over a loader's batches in lists of ``size``; the last list may be shorter.

    Lightning is given a list at a time, so that its own work is done once for several steps. A size
    of None gives single batches. Of a loader without a length Lightning reads one execution ahead,
    so the position is that before the newest; ``trainer`` is needed for such a loader.
    """

    def __init__(self, loader: Any, size: int | None, trainer: Any = None) -> None:
        self.loader = loader
        self.size = size
        self.trainer = trainer
        self._handed_out: dict[str, Any] | None = None

    def __len__(self) -> int:
        return -(-len(self.loader) // (self.size or 1))

    def __iter__(self) -> Iterator[Any]:
        if self._handed_out is not None:
            # Lightning begins twice when it resumes. It keeps what it has read, to train on it too.
            self.loader.load_state_dict(self._handed_out)
            self.trainer.fit_loop._data_fetcher.batches.clear()
        batches = iter(self.loader)
        sized = sized_len(self.loader) is not None
        while True:
            self._handed_out = None if sized else self.loader.state_dict()
            execution = list(islice(batches, self.size or 1))
            if not execution:
                break
            yield execution if self.size else execution[0]
        self._handed_out = None

    @property
    def _iterator(self) -> Any:
        """The workers that Lightning ends with a fit, by this name of DataLoader's."""
        return getattr(self.loader, "_iterator", None)

    @_iterator.setter
    def _iterator(self, iterator: None) -> None:
        if hasattr(self.loader, "_iterator"):
            self.loader._iterator = iterator

    def state_dict(self) -> dict[str, Any]:
        return self.loader.state_dict() if self._handed_out is None else self._handed_out

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.loader.load_state_dict(state)
