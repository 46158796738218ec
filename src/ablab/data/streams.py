"""Batches of iterable data sets, which go on in mid-epoch where the data set has a state."""

from collections.abc import Iterator
from itertools import count, islice
from typing import Any

from lightning.fabric.utilities.data import sized_len
from torch import Tensor
from torch.utils.data import IterableDataset

from ablab.data.batches import refuse_another_order
from ablab.data.randomness import key_of, seed_generators
from ablab.data.reading import Reading, raise_as_data_error, start_iterating
from ablab.errors import DataError, UserError

_PLAIN = (type(None), bool, int, float, str, bytes, Tensor)


class StreamLoader:
    """The batches of an iterable data set, which one process reads in its order.

    A rank takes every ``world_size``-th sample. A single sample that remains at the end of an epoch
    is left out of training, since batch norm cannot normalise one row.

    Args:
        dataset: may have ``state_dict`` and ``load_state_dict``, and ``set_epoch``.
        start: the state with which an epoch begins; None where the data set has no state.
        seed: of what is drawn at random; None in evaluation.
        others: as in ``RowLoader``.
    """

    def __init__(
        self,
        dataset: IterableDataset[Any],
        batch_size: int,
        reading: Reading,
        *,
        start: Any = None,
        seed: int | None = None,
        epoch: int = 0,
        rank: int = 0,
        world_size: int = 1,
        limit: int | None = None,
    ) -> None:
        self.dataset, self.reading = dataset, reading
        self.batch_size = batch_size
        self.start = start
        self.seed = seed
        self.epoch = epoch
        self.rank, self.world_size = rank, world_size
        self.limit = limit
        self.exact = has_state(dataset)
        self.position = 0
        self.ended = False
        self.state: Any = None  # of the data set after ``position`` batches

    def __len__(self) -> int:
        rows = sized_len(self.dataset)
        if rows is None:
            raise TypeError(f"{type(self.dataset).__name__} has no length")
        whole, rest = divmod(rows // self.world_size, self.batch_size)
        batches = whole + (rest > (self.seed is not None))
        return batches if self.limit is None else min(batches, self.limit)

    def __iter__(self) -> Iterator[Any]:
        if self.ended:  # An evaluation draws the same in each epoch.
            self.epoch += self.seed is not None
            self.position, self.state, self.ended = 0, None, False
        source: Any = _Batches(self)
        if self.reading.workers:
            source = self.reading.loader(source, 1, batch_size=None)
        length = sized_len(self)
        left = None if self.limit is None else self.limit - self.position
        for batch, state in islice(start_iterating(source), left):
            if isinstance(batch, UserError):
                raise batch
            self.position, self.state = self.position + 1, state
            self.ended = self.position in (length, self.limit)
            seed_generators(key_of(self.seed, self.epoch, self.position, self.rank))
            yield batch
        if length is not None and self.position < length:
            raise DataError(
                f"{type(self.dataset).__name__}: gave {self.position} batches, fewer than the "
                f"{length} that its length promises; correct its __len__, or leave it out"
            )
        if self.position == 0:
            raise DataError(f"{type(self.dataset).__name__}: gave no sample")
        self.ended = True

    def state_dict(self) -> dict[str, Any]:
        """Return plain values. Raises DataError if the data set's state has others."""
        if self.exact:
            _refuse_objects(self.state, type(self.dataset).__name__)
        return {
            "epoch": self.epoch + self.ended,
            "position": 0 if self.ended else self.position,
            "state": None if self.ended else self.state,
            **self._identity(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load the position; without a state of the data set, the start of its epoch.

        Raises:
            CheckpointError: the batches were drawn in another order.
        """
        refuse_another_order(self._identity(), state)
        self.epoch, self.ended = state["epoch"], False
        self.position = state["position"] if self.exact else 0
        self.state = state["state"]

    def _identity(self) -> dict[str, Any]:
        return {"seed": self.seed, "batch_size": self.batch_size, "world_size": self.world_size}


class _Batches(IterableDataset[Any]):
    """Batches of a stream from its loader's position on, each with the state after it.

    A UserError takes the place of a batch, since torch would put the traceback of a worker into the
    message of an error that is raised.
    """

    def __init__(self, loader: StreamLoader) -> None:
        self.dataset, self.reading = loader.dataset, loader.reading
        self.batch_size = loader.batch_size
        self.seed, self.epoch = loader.seed, loader.epoch
        self.rank, self.world_size = loader.rank, loader.world_size
        self.position = loader.position
        self.state = loader.start if loader.state is None else loader.state
        self.exact = loader.exact

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        try:
            yield from self._batches()
        except UserError as error:
            yield error, None

    def _batches(self) -> Iterator[tuple[Any, Any]]:
        dataset: Any = self.dataset
        name = type(dataset).__name__
        seed_generators(key_of(self.seed, self.epoch))
        with raise_as_data_error(name):
            if hasattr(dataset, "set_epoch"):
                dataset.set_epoch(self.epoch)
            if self.state is not None:
                dataset.load_state_dict(self.state)
            source = iter(dataset)
        rows: list[Any] = []
        index = 0
        for index in count(self.position * self.batch_size * self.world_size):
            seed_generators(key_of(self.seed, self.epoch, index))
            with raise_as_data_error(f"{name}, sample {index}"):
                sample = next(source, _END)
            if sample is _END:
                break
            if index % self.world_size == self.rank:
                rows.append(sample)
            # All ranks give a batch after the same sample, so that they take equally many steps.
            if (index + 1) % (self.batch_size * self.world_size) == 0:
                yield self.reading.batch(rows), dataset.state_dict() if self.exact else None
                rows = []
        del rows[index % (self.batch_size * self.world_size) // self.world_size :]
        if len(rows) > (self.seed is not None):
            yield self.reading.batch(rows), dataset.state_dict() if self.exact else None


_END = object()


def has_state(dataset: Any) -> bool:
    """Return whether an iterable data set can go on in its middle."""
    return hasattr(dataset, "state_dict") and hasattr(dataset, "load_state_dict")


def _refuse_objects(state: Any, name: str) -> None:
    """Raise DataError for a state that a checkpoint cannot hold."""
    inner = state.values() if isinstance(state, dict) else state
    if isinstance(state, dict | list | tuple):
        for value in inner:
            _refuse_objects(value, name)
    elif not isinstance(state, _PLAIN):
        raise DataError(
            f"{name}.state_dict: has a {type(state).__name__}, which a checkpoint cannot hold; "
            f"return numbers, text, tensors, and lists and dicts of them"
        )
