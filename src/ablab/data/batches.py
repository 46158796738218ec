"""Batches sliced out of tensors in memory, in an order that resumes exactly.

The order of an epoch is a function of (seed, epoch) alone and the position counts whole batches, so
two integers in a checkpoint continue a run in the middle of an epoch with the batches it had left.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from ablab.errors import CheckpointError, ConfigError, DataError

Tensors = Sequence[Tensor]
Augment = Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]]
_LARGE_ROW = 1024  # elements
_LARGE_COPY = 1 << 26  # bytes


class TensorLoader:
    """Iterates over an epoch's batches ``tuple(t[rows] for t in tensors)``, from its position on.

    Args:
        tensors: equal in their first dimension, the rows.
        batch_size: rows of a batch on this rank; the last batch has what is left, and a row that
            would be alone in it joins the batch before, since batch norm has no variance of one.
        limit: batches of an epoch at most.
        seed: of the order; None keeps the rows as they are.
        epoch: the first one.
        rank, world_size: this rank takes every ``world_size``-th row of the order; rows that do
            not divide evenly are left out of that epoch, so that all ranks take equal steps.
        augment: changes a batch at random. It draws from torch's global generator, seeded by (seed,
            epoch, batch, rank) before, so that batches are the same whoever asks for them.
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
        self.position = 0  # batches of this epoch that were handed out
        self.rows = len(self.tensors[0]) // world_size
        whole, rest = divmod(self.rows, self.batch_size)
        self.lone_row = rest == 1 and whole > 0
        batches = whole + (rest > 0 and not self.lone_row)
        self.batches = batches if limit is None else min(batches, limit)

    def __len__(self) -> int:
        return self.batches

    def order(self, epoch: int) -> Tensor:
        """Row numbers of ``epoch`` on this rank, int64, shape (rows,)."""
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
                # a slice costs a fraction of an index operation per batch
                tensors, order = tuple(t[order] for t in tensors), None
            else:
                order = order.int()
        for number in range(self.position, len(self)):
            # counted before it is handed out: when a step asks for a checkpoint, the batch it
            # has just consumed is behind it (loaders with a length are not read ahead)
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
        """Whether an epoch's order is worth a second, permuted copy of the tensors; it is not for
        images, nor for tables of which a copy would be felt."""
        small_rows = all(t[0].numel() <= _LARGE_ROW for t in self.tensors)
        return small_rows and sum(t.nbytes for t in self.tensors) <= _LARGE_COPY

    def state_dict(self) -> dict[str, Any]:
        """Plain integers; the end of an epoch is the start of the next."""
        ended = self.position == len(self)
        return {
            "epoch": self.epoch + ended,
            "position": 0 if ended else self.position,
            **self._identity(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises CheckpointError if the state is of another order of batches."""
        own = self._identity()
        differing = [k for k in own if state.get(k) != own[k]]
        if differing:
            told = ", ".join(f"{k} {state.get(k)} (now {own[k]})" for k in differing)
            raise CheckpointError(f"the checkpoint's batches were drawn with {told}")
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
    """Iterates over a loader's batches in lists of ``size``; an epoch's last one may be shorter.

    What Lightning is handed at a time, so that its own work is done once for several steps.
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


class TensorDataModule(LightningDataModule):
    """Train, validation and test parts as tensors ``(*inputs, target)``, moved to the device once.

    A subclass sets ``parts`` in ``setup``: "train", "test", and "val" where there is one.
    """

    def __init__(self, *, batch_size: int, eval_batch_size: int, order_seed: int) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.order_seed = order_seed
        self.parts: dict[str, Tensors] = {}
        self.first_epoch = 0  # of the coming fit; earlier phases have seen those before it
        self.batches_per_execution = 1  # in a fit
        self._train_loader: TensorLoader | None = None
        self._resume: dict[str, Any] | None = None

    @property
    def sizes(self) -> dict[str, Any]:
        """What a model must know of the data (users, items, classes), by constructor argument.

        Integers, or lists of them.
        """
        raise NotImplementedError

    def summary(self) -> str:
        """One line: the data, its split, and the rows of each part."""
        raise NotImplementedError

    def baselines(self) -> dict[str, dict[str, float]]:
        """Test metrics of simple models, fitted on the training rows, by name."""
        return {}

    def augmentation(self) -> Augment | None:
        """What changes a training batch at random; None for nothing."""
        return None

    def test_table(self) -> dict[str, Sequence[Any]]:
        """Columns that name the test rows, in the order of the test part."""
        return {}

    def class_names(self, n_classes: int) -> list[str]:
        """What the columns of a classifier's output stand for."""
        return [str(index) for index in range(n_classes)]

    def prediction_columns(self, predictions: Tensor) -> dict[str, Sequence[Any]]:
        """What is written of predictions: (N,) as they are; of probabilities (N, C) the class."""
        if predictions.dim() == 1:
            return {"prediction": predictions.tolist()}
        probability, index = predictions.float().max(dim=1)
        names = self.class_names(predictions.shape[1])
        return {"prediction": [names[i] for i in index], "probability": probability.tolist()}

    def train_dataloader(self) -> TensorLoader | Executions:
        """Under a trainer, batches in lists of ``batches_per_execution``."""
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
                f"trainer.val_check_interval: an epoch has {len(loader)} batches, and validation "
                f"would come every {interval * self.batches_per_execution}"
            )
        self._train_loader = loader
        return Executions(loader, self.batches_per_execution)

    def train_loader(self, tensors: Tensors | None = None, **options: Any) -> TensorLoader:
        """Raises DataError if there is nothing to train on."""
        loader = TensorLoader(
            self.parts["train"] if tensors is None else tensors,
            self.batch_size,
            seed=self.order_seed,
            augment=self.augmentation(),
            **options,
        )
        if len(loader) == 0:
            raise DataError("no training batch: the training part is empty")
        return loader

    def val_dataloader(self) -> TensorLoader | list[Any]:
        return self._evaluation_loader("val") if "val" in self.parts else []

    def test_dataloader(self) -> TensorLoader:
        return self._evaluation_loader("test")

    def predict_dataloader(self) -> TensorLoader:
        return self._evaluation_loader("test")

    def state_dict(self) -> dict[str, Any]:
        """The training loader's position.

        Kept here, not by Lightning's fit loop: that drops a loader's state when the length of the
        run is asked for in ``configure_optimizers`` (Lightning issue 20550).
        """
        return {} if self._train_loader is None else self._train_loader.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if self._train_loader is None:
            self._resume = state_dict
        else:  # Lightning restores a sharded fit when it has been set up, its loader with it
            self._train_loader.load_state_dict(state_dict)

    def _evaluation_loader(self, part: str) -> TensorLoader:
        return TensorLoader(self._on_device(part), self.eval_batch_size)

    def _on_device(self, part: str) -> Tensors:
        if self.trainer is None:
            return self.parts[part]
        return [t.to(self.trainer.strategy.root_device) for t in self.parts[part]]


def _number_of_batches(limit: float | None) -> int | None:
    """Lightning's ``limit_train_batches``: an int is a number, 1.0 and None are no limit."""
    return limit if isinstance(limit, int) else None
