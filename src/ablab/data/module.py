"""Data in memory, as train, validation and test parts."""

from collections.abc import Sequence
from typing import Any, Self

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from ablab.data.batches import Augment, Executions, TensorLoader, Tensors
from ablab.data.splits import split_rows
from ablab.errors import ConfigError, DataError


class TensorDataModule(LightningDataModule):
    """Train, validation and test parts as tensors ``(*inputs, target)``, moved to the device once.

    A subclass sets ``parts`` in ``setup``: "train", "test" and, if there is one, "val". It uses
    ``split_seed`` for whatever it draws at random there.

    Attributes:
        batch_size: rows of a training batch on each process.
        eval_batch_size: rows of a batch in validation, test and prediction.
        split_seed: seed of the split, fixed for all runs of a plan.
        order_seed: seed of the order of the training batches.
    """

    batch_size = 64
    eval_batch_size = 16384
    split_seed = 42
    order_seed = 0

    def __init__(self) -> None:
        super().__init__()
        self.parts: dict[str, Tensors] = {}
        self.begin_phase(0, 1)
        self._train_loader: TensorLoader | None = None
        self._resume: dict[str, Any] | None = None

    def configure(
        self,
        *,
        batch_size: int | None = None,
        eval_batch_size: int | None = None,
        split_seed: int | None = None,
        order_seed: int | None = None,
    ) -> Self:
        """Set batch sizes and seeds, before ``setup``; None leaves a value as it is."""
        for name, value in (
            ("batch_size", batch_size),
            ("eval_batch_size", eval_batch_size),
            ("split_seed", split_seed),
            ("order_seed", order_seed),
        ):
            if value is not None:
                setattr(self, name, value)
        return self

    def begin_phase(self, first_epoch: int, batches_per_execution: int) -> None:
        """Prepare for the fit of a phase.

        Args:
            first_epoch: number of epochs that earlier phases have seen.
            batches_per_execution: batches that Lightning is given at a time.
        """
        self.first_epoch = first_epoch
        self.batches_per_execution = batches_per_execution

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
    def sizes(self) -> dict[str, Any]:
        """Return what a model must know of the data (users, classes), by constructor argument.

        Values are integers or lists of them.
        """
        return {}

    def summary(self) -> str:
        """Return one line: the data, its split, and the rows of each part."""
        rows = ", ".join(f"{len(tensors[0]):,} {name}" for name, tensors in self.parts.items())
        return f"{type(self).__name__}: {rows} rows"

    def baselines(self) -> dict[str, dict[str, float]]:
        """Return test metrics of simple models that are fitted on the training rows, by name."""
        return {}

    def augmentation(self) -> Augment | None:
        """Return a function that changes a training batch at random, or None."""
        return None

    def test_table(self) -> dict[str, Sequence[Any]]:
        """Return columns that describe the test rows, in the order of the test part."""
        return {}

    def class_names(self, n_classes: int) -> list[str]:
        """Return the names of the classes, in the order of a classifier's output columns."""
        return [str(index) for index in range(n_classes)]

    def prediction_columns(self, predictions: Tensor) -> dict[str, Sequence[Any]]:
        """Return the columns to write: predictions (N,) as they are, or for probabilities (N, C)
        the most probable class and its probability."""
        if predictions.dim() == 1:
            return {"prediction": predictions.tolist()}
        probability, index = predictions.float().max(dim=1)
        names = self.class_names(predictions.shape[1])
        return {"prediction": [names[i] for i in index], "probability": probability.tolist()}

    def train_dataloader(self) -> TensorLoader | Executions:
        """Return the training batches; under a trainer in lists of ``batches_per_execution``."""
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
        if within and interval * self.batches_per_execution > len(loader):
            raise ConfigError(
                f"trainer.val_check_interval: an epoch has only {len(loader)} batches; choose at "
                f"most that many (it is {interval * self.batches_per_execution})"
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
