"""Data in memory, as train, validation and test parts."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ablab.data.batches import Augment, Executions, TensorLoader, Tensors
from ablab.data.contract import Resumes, RunDataModule
from ablab.data.fingerprints import of_tensors
from ablab.data.splits import split_rows
from ablab.errors import ConfigError, DataError


class TensorDataModule(RunDataModule):
    """Train, validation and test parts as tensors ``(*inputs, target)``, moved to the device once.

    A subclass sets ``parts`` in ``setup``: "train", "test" and, if there is one, "val". It uses
    ``split_seed`` for whatever it draws at random there.
    """

    def __init__(self) -> None:
        super().__init__()
        self.parts: dict[str, Tensors] = {}
        self._train_loader: TensorLoader | None = None
        self._resume: dict[str, Any] | None = None

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

    @property
    def has_validation(self) -> bool:
        return "val" in self.parts

    @property
    def has_test(self) -> bool:
        return "test" in self.parts

    @property
    def resumes(self) -> Resumes:
        return "exact in mid-epoch"

    def fingerprints(self) -> dict[str, dict[str, Any]]:
        return {name: of_tensors(tensors) for name, tensors in self.parts.items()}

    def trial_batch(self) -> tuple[Tensor, ...]:
        return tuple(tensor[:2] for tensor in self.parts["train"])

    def training_targets(self) -> Tensor:
        return self.parts["train"][-1]

    @contextmanager
    def test_hidden(self) -> Iterator[None]:
        parts = self.parts
        self.parts = {name: rows for name, rows in parts.items() if name != "test"}
        try:
            yield
        finally:
            self.parts = parts

    def summary(self) -> str:
        rows = ", ".join(f"{len(tensors[0]):,} {name}" for name, tensors in self.parts.items())
        return f"{type(self).__name__}: {rows} rows"

    def augmentation(self) -> Augment | None:
        """Return a function that changes a training batch at random, or None."""
        return None

    def train_dataloader(self) -> TensorLoader | Executions:
        """Return the training batches; under a trainer as ``Executions``."""
        trainer = self.trainer
        if trainer is None:
            return self.train_loader()
        loader = self.train_loader(
            self._on_device("train"),
            epoch=self.first_epoch,
            rank=trainer.global_rank,
            world_size=trainer.world_size,
            limit=_number_of_batches(trainer.limit_train_batches),
        )
        if self._resume is not None:
            loader.load_state_dict(self._resume)
            self._resume = None
        interval = trainer.val_check_interval
        within = isinstance(interval, int) and trainer.check_val_every_n_epoch is not None
        batches = self.batches_per_execution or 1
        if within and interval * batches > len(loader):
            raise ConfigError(
                f"trainer.val_check_interval: an epoch has only {len(loader)} batches; choose at "
                f"most that many (it is {interval * batches})"
            )
        self._train_loader = loader
        return Executions(loader, self.batches_per_execution)

    def train_loader(self, tensors: Tensors | None = None, **options: Any) -> TensorLoader:
        """Return a loader of the training part. Raises DataError if that is empty."""
        loader = TensorLoader(
            self.parts["train"] if tensors is None else tensors,
            self.batch_size,
            seed=self.order_seed,
            augment=self.augmentation(),
            **options,
        )
        if len(loader) == 0:
            raise DataError("the training part is empty; choose a smaller test or validation part")
        return loader

    def val_dataloader(self) -> TensorLoader | list[Any]:
        return self._evaluation_loader("val") if "val" in self.parts else []

    def test_dataloader(self) -> TensorLoader:
        return self._evaluation_loader("test")

    def predict_dataloader(self) -> TensorLoader:
        return self._evaluation_loader("test")

    def state_dict(self) -> dict[str, Any]:
        """Return the position of the training loader.

        Lightning's fit loop would lose it when ``configure_optimizers`` asks for the length of the
        run (Lightning issue 20550).
        """
        return {} if self._train_loader is None else self._train_loader.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if self._train_loader is None:
            self._resume = state_dict
        else:  # Lightning restores a sharded fit only after its loader has been made
            self._train_loader.load_state_dict(state_dict)

    def _evaluation_loader(self, part: str) -> TensorLoader:
        return TensorLoader(self._on_device(part), self.eval_batch_size)

    def _on_device(self, part: str) -> Tensors:
        if self.trainer is None:
            return self.parts[part]
        return [t.to(self.trainer.strategy.root_device) for t in self.parts[part]]


def _number_of_batches(limit: float | None) -> int | None:
    """Return Lightning's ``limit_train_batches`` if it is a number; 1.0 and None are no limit."""
    return limit if isinstance(limit, int) else None
