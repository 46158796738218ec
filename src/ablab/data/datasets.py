"""Batches of data sets that are read sample by sample, by worker processes where there are some.

What is drawn at random for a sample is a function of (seed, epoch, number of the sample), however
many workers there are; the position counts the batches that were handed out, not those that workers
have read ahead.
"""

import weakref
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import Dataset

from ablab.data.batches import Augment, RowLoader
from ablab.data.randomness import key_of, seed_generators
from ablab.data.reading import Reading, raise_as_data_error, start_iterating
from ablab.errors import UserError


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
        self._loader = reading.loader(
            Samples(dataset, reading),
            reading.workers,
            batch_sampler=_Keys(self),
            persistent_workers=reading.persistent_workers and reading.workers > 0,
        )

    def __iter__(self) -> Iterator[Any]:
        self.begin_epoch()
        for number, batch in enumerate(start_iterating(self._loader), self.position):
            if isinstance(batch, UserError):
                raise batch
            self.position = number + 1
            if self.augment is not None:
                moved = tuple(tensor.to(self.device, non_blocking=True) for tensor in batch)
                batch = self.augmented(moved, number, self.augment)
            # Whether workers or this process has read the batch, what is drawn next is the same.
            seed_generators(key_of(self.seed, self.epoch, number, self.rank))
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
        for number in range(self.position, len(self)):
            places = self.places(number)
            rows = order[places].tolist()
            drawn = rows
            if self.weights is not None:  # a row may come twice, and has a place for each
                drawn = range(places.start, places.start + len(rows))
                drawn = [place * self.world_size + self.rank for place in drawn]
            yield [
                (key_of(self.seed, self.epoch, n), row) for n, row in zip(drawn, rows, strict=True)
            ]


class _Keys:
    """The batches of a loader's epoch anew each time that it is iterated.

    It must not keep the loader alive: the collector of cycles would close the queues before the
    workers are told to end, and torch then waits for them in vain.
    """

    def __init__(self, loader: DatasetLoader) -> None:
        self._loader = weakref.proxy(loader)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return DatasetLoader.keys(self._loader)


class Samples(Dataset[Any]):
    """Reads and collates the samples of a batch, each with a seed of its own."""

    def __init__(self, dataset: Any, reading: Reading) -> None:
        self.dataset, self.reading = dataset, reading

    def read(self, keys: list[tuple[int, int]]) -> Any:
        """Return a batch of the rows that ``keys`` pair with seeds. Raises DataError."""
        samples = []
        for key, row in keys:
            seed_generators(key)
            with raise_as_data_error(f"{type(self.dataset).__name__}[{row}]"):
                samples.append(self.dataset[row])
        return self.reading.batch(samples)

    def __getitems__(self, keys: list[tuple[int, int]]) -> Any:
        """Return the batch, or the error in its way.

        Torch would put the traceback of a worker into the message of an error that is raised.
        """
        try:
            return self.read(keys)
        except UserError as error:
            return error
