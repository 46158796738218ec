"""Data as train, validation and test parts: tensors in memory, or data sets that are read."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from lightning.fabric.utilities.data import sized_len
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, default_collate

from ablab.data.batches import Augment, Executions, RowLoader, TensorLoader, Tensors
from ablab.data.contract import Resumes, RunDataModule
from ablab.data.datasets import DatasetLoader, Samples
from ablab.data.fingerprints import of_dataset, of_tensors
from ablab.data.randomness import key_of
from ablab.data.reading import Reading
from ablab.data.splits import split_rows
from ablab.data.streams import StreamLoader, has_state
from ablab.errors import ConfigError, DataError

Loader = RowLoader | StreamLoader
Part = Tensors | Dataset[Any]


class PartsDataModule(RunDataModule):
    """Data whose ``parts`` are "train", "test" and, if there is one, "val".

    A subclass sets them in ``setup``. It uses ``split_seed`` for whatever it draws at random there.
    A part is a sequence of tensors with equally many rows, or a ``Dataset``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.parts: dict[str, Any] = {}
        self.collate_fn: Callable[[list[Any]], Any] = default_collate
        self._starts: dict[str, Any] = {}  # states of iterable data sets before they are read

    @property
    def has_validation(self) -> bool:
        return "val" in self.parts

    @property
    def has_test(self) -> bool:
        return "test" in self.parts

    @property
    def resumes(self) -> Resumes:
        train = self.parts["train"]
        if isinstance(train, IterableDataset) and not has_state(train):
            return "from the epoch's start"
        return "exact in mid-epoch"

    def fingerprints(self) -> dict[str, dict[str, Any]]:
        return {
            name: of_dataset(part) if isinstance(part, Dataset) else of_tensors(part)
            for name, part in self.parts.items()
        }

    def trial_batch(self) -> Any:
        train = self.parts["train"]
        if not isinstance(train, Dataset):
            return tuple(tensor[:2] for tensor in train)
        reading, key = Reading(collate=self.collate_fn), key_of(self.order_seed)
        if not isinstance(train, IterableDataset):
            rows = range(min(2, len(train)))  # pyright: ignore[reportArgumentType]
            return Samples(train, reading).read([(key, row) for row in rows])
        batches = StreamLoader(train, 2, reading, start=self._start("train", train))
        return next(iter(batches))

    @contextmanager
    def test_hidden(self) -> Iterator[None]:
        parts = self.parts
        self.parts = {name: rows for name, rows in parts.items() if name != "test"}
        try:
            yield
        finally:
            self.parts = parts

    def summary(self) -> str:
        """Return one line: the data, its split, and the rows of each part."""
        rows = ", ".join(f"{_counted(part)} {name}" for name, part in self.parts.items())
        return f"{type(self).__name__}: {rows} rows"

    def augmentation(self) -> Augment | None:
        """Return a function that changes a training batch of tensors at random, or None."""
        return None

    def train_dataloader(self) -> Loader | Executions:
        """Return the training batches; under a trainer as ``Executions``."""
        trainer = self.trainer
        if trainer is None:
            return self.train_loader()
        limit = trainer.limit_train_batches
        loader = self.train_loader(
            epoch=self.first_epoch,
            rank=trainer.global_rank,
            world_size=trainer.world_size,
            limit=limit if isinstance(limit, int) else None,  # 1.0 and None are no limit
        )
        interval = trainer.val_check_interval
        within = isinstance(interval, int) and trainer.check_val_every_n_epoch is not None
        batches = self.batches_per_execution or 1
        if within and isinstance(loader, RowLoader) and interval * batches > len(loader):
            raise ConfigError(
                f"trainer.val_check_interval: an epoch has only {len(loader)} batches; choose at "
                f"most that many (it is {interval * batches})"
            )
        executions = Executions(loader, self.batches_per_execution, trainer)
        self.restore(executions)
        return executions

    def train_loader(self, **options: Any) -> Loader:
        """Return a loader of the training part. Raises DataError if that is empty."""
        loader = self._loader("train", self.batch_size, seed=self.order_seed, **options)
        if isinstance(loader, RowLoader) and len(loader) == 0:
            raise DataError("the training part is empty; choose a smaller test or validation part")
        return loader

    def training_part(self) -> Loader:
        """Return the batches of the training part in the order of its rows, not augmented."""
        return self.batches("train")

    def val_dataloader(self) -> Loader | list[Any]:
        return self.batches("val") if "val" in self.parts else []

    def test_dataloader(self) -> Loader:
        return self.batches("test")

    def predict_dataloader(self) -> Loader:
        return self.batches("test")

    def batches(self, part: str) -> Loader:
        """Return the batches of a part in the order of its rows, for evaluation."""
        return self._loader(part, self.eval_batch_size)

    def _loader(self, name: str, batch_size: int, **options: Any) -> Loader:
        part, device = self.parts[name], self._device
        augment = self.augmentation() if name == "train" and "seed" in options else None
        if not isinstance(part, Dataset):
            tensors = part if device is None else [t.to(device) for t in part]
            return TensorLoader(tensors, batch_size, augment=augment, **options)
        on_gpu = device is not None and device.type == "cuda"
        reading = Reading(
            self.workers,
            on_gpu if self.pin_memory is None else self.pin_memory,
            self.persistent_workers,
            self.collate_fn,
        )
        if isinstance(part, IterableDataset):
            return StreamLoader(part, batch_size, reading, start=self._start(name, part), **options)
        if "seed" in options:
            options["weights"] = self._weights(part)
        options |= {"augment": augment, "device": device or torch.device("cpu")}
        return DatasetLoader(part, batch_size, reading, **options)

    def _weights(self, train: Dataset[Any]) -> Tensor | None:
        weights = self.sample_weights(train)
        if weights is None:
            return None
        rows = _rows(train)
        try:
            weights = torch.as_tensor(weights, dtype=torch.float64)
        except (TypeError, ValueError):  # words, or rows of several
            weights = torch.zeros(0)
        if weights.shape != (rows,) or not (weights >= 0).all() or not 0 < weights.sum() < math.inf:
            raise DataError(
                f"{type(train).__name__}.sample_weights: should be {rows:,} finite numbers of 0 or "
                f"more, one for each row, not all 0"
            )
        return weights

    def sample_weights(self, train: Dataset[Any]) -> Any:
        """Return weights by which training rows are drawn, with replacement, or None for all rows
        once; those that the data set has as ``sample_weights``."""
        return getattr(train, "sample_weights", None)

    @property
    def _device(self) -> torch.device | None:
        return None if self.trainer is None else self.trainer.strategy.root_device

    def _start(self, name: str, part: IterableDataset[Any]) -> Any:
        if has_state(part) and name not in self._starts:
            self._starts[name] = deepcopy(part.state_dict())  # pyright: ignore[reportAttributeAccessIssue]
        return deepcopy(self._starts.get(name))


class TensorDataModule(PartsDataModule):
    """Train, validation and test parts as tensors ``(*inputs, target)``, moved to the device once.

    A subclass sets ``parts`` in ``setup``: "train", "test" and, if there is one, "val". It uses
    ``split_seed`` for whatever it draws at random there.
    """

    parts: dict[str, Tensors]

    def training_targets(self) -> Tensor:
        return self.parts["train"][-1]

    def random_parts(
        self, tensors: Tensors, test_fraction: float, validation_fraction: float
    ) -> dict[str, Tensors]:
        """Return ``tensors`` as parts of rows drawn by ``split_seed``.

        Args:
            tensors: equal in their first dimension, the rows.
            test_fraction: share of all rows that becomes the part "test".
            validation_fraction: share of the other rows that becomes "val"; 0 for no such part.
        """
        rows = split_rows(
            len(tensors[0]),
            test_fraction=test_fraction,
            validation_fraction=validation_fraction,
            seed=self.split_seed,
        )
        return {part: tuple(t[torch.from_numpy(of)] for t in tensors) for part, of in rows.items()}


def _rows(part: Part) -> int | None:
    return sized_len(part) if isinstance(part, Dataset) else len(part[0])


def _counted(part: Part) -> str:
    rows = _rows(part)
    return "a stream of" if rows is None else f"{rows:,}"
