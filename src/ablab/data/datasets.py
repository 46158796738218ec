"""Batches of data sets that are read sample by sample, by worker processes where there are some.

What is drawn at random for a sample is a function of (seed, epoch, number of the sample), however
many workers there are; the position counts the batches that were handed out, not those that workers
have read ahead.
"""

import atexit
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, islice
from threading import Thread
from typing import Any

import torch
from lightning.fabric.utilities.data import sized_len
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate

from ablab.data.batches import Augment, RowLoader, refuse_another_order
from ablab.data.randomness import key_of, seed_generators
from ablab.errors import CheckpointError, DataError, UserError

_PLAIN = (type(None), bool, int, float, str, bytes, Tensor)
_EVALUATION = -1  # stands for the seed of an order that is not drawn


@dataclass(frozen=True)
class Reading:
    """How samples are read: ``loading`` of the config.

    Attributes:
        workers: processes that read; 0 reads in this process.
        pin_memory: copy batches to memory from which a GPU reads faster.
        persistent_workers: keep the processes from one epoch to the next.
        collate: makes a batch of a list of samples.
    """

    workers: int = 0
    pin_memory: bool = False
    persistent_workers: bool = True
    collate: Callable[[list[Any]], Any] = default_collate


class DatasetLoader(RowLoader):
    """The batches of a map-style data set.

    Args:
        dataset: has a length; ``dataset[index]`` is a sample.
        reading: how the samples are read.
        augment: changes a batch of tensors at random, on ``device``, as in ``TensorLoader``.
        device: where ``augment`` works.
        settings: those of ``RowLoader``.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int,
        reading: Reading,
        *,
        augment: Augment | None = None,
        device: torch.device | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(len(dataset), batch_size, **settings)
        self.augment, self.device = augment, device
        self._loader = DataLoader(
            _Seeded(dataset, reading.collate),
            batch_sampler=_Keys(self),  # pyright: ignore[reportArgumentType]
            collate_fn=_as_it_is,
            persistent_workers=reading.persistent_workers and reading.workers > 0,
            **_options(reading, reading.workers),
        )

    def __iter__(self) -> Iterator[Any]:
        self.begin_epoch()
        for number, batch in enumerate(self._loader, self.position):
            if isinstance(batch, UserError):
                raise batch
            self.position = number + 1
            if self.augment is not None:
                moved = tuple(tensor.to(self.device, non_blocking=True) for tensor in batch)
                batch = self.augmented(moved, number, self.augment)
            # Whether workers or this process has read the batch, what is drawn next is the same.
            seed_generators(key_of(_or_evaluation(self.seed), self.epoch, number, self.rank))
            yield batch

    @property
    def _iterator(self) -> Any:
        """The workers that Lightning ends with a fit, by this name of DataLoader's."""
        return self._loader._iterator

    @_iterator.setter
    def _iterator(self, iterator: None) -> None:
        self._loader._iterator = iterator

    def keys(self) -> Iterator[list[tuple[int, int]]]:
        """Yield the batches left in this epoch, as pairs of a seed and a row number."""
        order = self.order(self.epoch)
        seed = _or_evaluation(self.seed)
        for number in range(self.position, len(self)):
            places = self.places(number)
            rows = order[places].tolist()
            drawn = rows
            if self.weights is not None:  # a row may come twice, and has a place for each
                drawn = range(places.start, places.start + len(rows))
                drawn = [place * self.world_size + self.rank for place in drawn]
            yield [(key_of(seed, self.epoch, n), row) for n, row in zip(drawn, rows, strict=True)]


class _Keys:
    """The batches of a loader's epoch anew each time that it is iterated."""

    def __init__(self, loader: DatasetLoader) -> None:
        self._loader = loader

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return self._loader.keys()


class _Seeded(Dataset[Any]):
    """Reads and collates the samples of a batch, each with a seed of its own."""

    def __init__(self, dataset: Any, collate: Callable[[list[Any]], Any]) -> None:
        self.dataset, self.collate = dataset, collate

    def __getitems__(self, keys: list[tuple[int, int]]) -> Any:
        samples = []
        for key, row in keys:
            seed_generators(key)
            try:
                samples.append(self.dataset[row])
            except UserError as error:  # torch would put a worker's traceback into its message
                return error
        return self.collate(samples)


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
        if self.ended:
            self.epoch, self.position, self.state, self.ended = self.epoch + 1, 0, None, False
        batches = _Batches(self)
        workers = min(1, self.reading.workers)
        source: Any = batches
        if workers:
            options = _options(self.reading, workers)
            source = DataLoader(batches, batch_size=None, collate_fn=_as_it_is, **options)
        length = sized_len(self)
        left = None if self.limit is None else self.limit - self.position
        for batch, state in islice(source, left):
            self.position, self.state = self.position + 1, state
            self.ended = self.position in (length, self.limit)
            key = key_of(_or_evaluation(self.seed), self.epoch, self.position, self.rank)
            seed_generators(key)
            yield batch
        if length is not None and self.position < length:
            raise DataError(
                f"{type(self.dataset).__name__}: gave {self.position} batches, fewer than the "
                f"{length} that its length promises; correct its __len__, or leave it out"
            )
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
            CheckpointError: the order differs, or a data set without a length was in mid-epoch:
                Lightning reads ahead in it, and a continued run would lose its last steps.
        """
        refuse_another_order(self._identity(), state)
        if state["position"] and sized_len(self) is None:
            name = type(self.dataset).__name__
            raise CheckpointError(
                f"{name}: has no length, so a run cannot be continued in the middle of an epoch; "
                f"give it a __len__ for the next run, and begin this one again"
            )
        self.epoch, self.ended = state["epoch"], False
        self.position = state["position"] if self.exact else 0
        self.state = state["state"]

    def _identity(self) -> dict[str, Any]:
        return {"seed": self.seed, "batch_size": self.batch_size, "world_size": self.world_size}


class _Batches(IterableDataset[Any]):
    """Batches of a stream from its loader's position on, each with the state after it."""

    def __init__(self, loader: StreamLoader) -> None:
        self.dataset, self.collate = loader.dataset, loader.reading.collate
        self.batch_size = loader.batch_size
        self.seed, self.epoch = _or_evaluation(loader.seed), loader.epoch
        self.rank, self.world_size = loader.rank, loader.world_size
        self.position = loader.position
        self.state = loader.start if loader.state is None else loader.state
        self.exact = loader.exact

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        dataset: Any = self.dataset
        seed_generators(key_of(self.seed, self.epoch))
        if hasattr(dataset, "set_epoch"):
            dataset.set_epoch(self.epoch)
        if self.state is not None:
            dataset.load_state_dict(self.state)
        source = iter(dataset)
        rows: list[Any] = []
        index = 0
        for index in count(self.position * self.batch_size * self.world_size):
            seed_generators(key_of(self.seed, self.epoch, index))
            try:
                sample = next(source)
            except StopIteration:
                break
            if index % self.world_size == self.rank:
                rows.append(sample)
            # All ranks give a batch after the same sample, so that they take equally many steps.
            if (index + 1) % (self.batch_size * self.world_size) == 0:
                yield self.collate(rows), dataset.state_dict() if self.exact else None
                rows = []
        del rows[index % (self.batch_size * self.world_size) // self.world_size :]
        if len(rows) > (self.seed != _EVALUATION):
            yield self.collate(rows), dataset.state_dict() if self.exact else None


def has_state(dataset: Any) -> bool:
    """Return whether an iterable data set can go on in its middle."""
    return hasattr(dataset, "state_dict") and hasattr(dataset, "load_state_dict")


def _options(reading: Reading, workers: int) -> dict[str, Any]:
    return {
        "num_workers": workers,
        "pin_memory": reading.pin_memory,
        "worker_init_fn": _begin_worker if workers else None,
        # Its own draws would otherwise come from torch's global generator.
        "generator": torch.Generator(),
    }


def _begin_worker(_: int) -> None:
    """Leave signals to the main process, which still needs batches for its last steps; end with it.

    A worker that outlives it would keep the run's folder locked.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Thread(target=_end_with_main_process, daemon=True).start()


def _end_with_main_process() -> None:
    """Wait for the end of the process that uses the batches.

    Under the start method forkserver it is not the parent that the operating system knows.
    """
    main = multiprocessing.parent_process()
    assert main is not None  # this is a worker
    main.join()
    os.kill(os.getpid(), signal.SIGKILL)


@atexit.register
def _end_workers() -> None:
    """End what workers are left when Python exits.

    It sends them SIGTERM, which they ignore, and would wait for them.
    """
    workers = [child for child in multiprocessing.active_children() if child.daemon]
    if workers:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler would raise an error
    for worker in workers:
        worker.kill()


def _or_evaluation(seed: int | None) -> int:
    return _EVALUATION if seed is None else seed


def _as_it_is(batch: Any) -> Any:
    return batch


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
