"""Any LightningDataModule as data of a run: its own loaders, and what a run needs beside them."""

import inspect
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from typing import Any

from lightning.fabric.utilities.data import _set_sampler_epoch, sized_len
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningDataModule
from lightning.pytorch.trainer.connectors.data_connector import _process_dataloader
from lightning.pytorch.trainer.states import RunningStage, TrainerFn
from lightning.pytorch.utilities import CombinedLoader
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch.utils.data import DataLoader, IterableDataset

from ablab.data.batches import Executions
from ablab.data.contract import Resumes, RunDataModule
from ablab.data.randomness import key_of, seed_generators
from ablab.errors import ConfigError, first_line

_HOOKS = (
    *("prepare_data", "setup", "teardown", "on_exception"),
    *("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer"),
)
_OPTIONAL = ("baselines", "test_table", "class_names", "prediction_columns", "fingerprints")


def as_run_data(data: Any) -> RunDataModule:
    """Return ``data`` as data of a run."""
    return data if isinstance(data, RunDataModule) else AdaptedDataModule(data)


class AdaptedDataModule(RunDataModule):
    """The data of a run from ``own``, a data module with loaders of its own.

    It may have ``sizes`` (a dict), and the methods ``summary``, ``baselines``, ``test_table``,
    ``class_names``, ``prediction_columns`` and ``fingerprints`` of a ``RunDataModule``. Its batch
    sizes, workers and order are its own; what a batch draws from the global generators of torch,
    numpy and Python is a function of (seed, epoch, batch).
    """

    def __init__(self, own: LightningDataModule) -> None:
        super().__init__()
        self._own = own
        for name in _HOOKS:  # as attributes, so that Lightning finds those that are overridden
            setattr(self, name, getattr(own, name))
        for name in _OPTIONAL:
            if inspect.ismethod(method := getattr(own, name, None)):
                setattr(self, name, method)

    @property
    def own(self) -> LightningDataModule:
        return self._own

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "trainer" and "_own" in vars(self):
            self._own.trainer = value

    @property
    def sizes(self) -> dict[str, Any]:
        sizes = getattr(self._own, "sizes", {})
        return sizes if isinstance(sizes, dict) else {}

    def summary(self) -> str:
        own = getattr(self._own, "summary", None)
        return own() if inspect.ismethod(own) else super().summary()

    @property
    def has_validation(self) -> bool:
        return is_overridden("val_dataloader", self._own)

    @property
    def has_test(self) -> bool:
        return is_overridden("test_dataloader", self._own)

    @cached_property
    def _example(self) -> Any:
        """A training loader to look at ahead of the fit; None where it needs a trainer."""
        with suppress(Exception):  # The fit raises it again.
            return self._own.train_dataloader()

    @property
    def resumes(self) -> Resumes:
        return "exact in mid-epoch" if _has_state(self._example) else "from the epoch's start"

    def trial_batch(self) -> Any:
        loader = self._example
        if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
            return None
        if loader.batch_size is None or not sized_len(loader.dataset):
            return None
        seed_generators(key_of(self.order_seed))
        rows = range(min(2, sized_len(loader.dataset) or 0))
        return loader.collate_fn([loader.dataset[row] for row in rows])

    def train_dataloader(self) -> Any:
        """Return the module's own loaders, a single one as ``Executions``."""
        loaders = self._own_loader("train_dataloader")
        combined = loaders if isinstance(loaders, CombinedLoader) else CombinedLoader(loaders)
        limit = None if self.trainer is None else self.trainer.limit_train_batches
        limit = limit if isinstance(limit, int) else None
        epochs = [
            EpochLoader(self._for_rank(loader), self.order_seed, self.first_epoch, limit)
            for loader in combined.flattened
        ]
        if combined.iterables is combined.flattened[0]:
            executions = Executions(epochs[0], self.batches_per_execution, self.trainer)
            self.restore(executions)
            return executions
        if self.batches_per_execution is not None:
            raise ConfigError(
                f"data: {type(self._own).__name__} has several training loaders, which a "
                f"SupervisedModule cannot train on; give it one, or write a LightningModule"
            )
        self.restore(_Together(epochs))
        combined.flattened = epochs
        return combined if combined is loaders else combined.iterables

    def train_loader(self) -> Any:
        """Return the training batches outside of a fit."""
        return EpochLoader(self._own_loader("train_dataloader"), self.order_seed, 0)

    def _own_loader(self, method: str) -> Any:
        """Return what a method of the user's returns. Raises ConfigError if that is None."""
        if (loader := getattr(self._own, method)()) is None:
            raise ConfigError(
                f"data: {type(self._own).__name__}.{method} returns None; have it return a loader, "
                f"or leave the method out if there is no such part"
            )
        return loader

    def _for_rank(self, loader: Any) -> Any:
        """Return ``loader`` with the rows of this rank, as Lightning would make it.

        Raises:
            ConfigError: it has a batch sampler that Lightning cannot share out.
        """
        if self.trainer is None:
            return loader
        connector = self.trainer._accelerator_connector
        connector.use_distributed_sampler = True  # It is off, since all ranks evaluate all rows.
        try:
            shared = _process_dataloader(
                self.trainer, TrainerFn.FITTING, RunningStage.TRAINING, loader
            )
        except (TypeError, MisconfigurationException) as error:
            raise ConfigError(
                f"data: the training loader of {type(self._own).__name__} cannot be shared out "
                f"among processes; give it a torch DistributedSampler ({first_line(error)})"
            ) from error
        finally:
            connector.use_distributed_sampler = False
        if shared is not loader and isinstance(shared, DataLoader):
            sampler: Any = shared.sampler
            sampler.seed = self.order_seed  # Lightning would give all seeds the same order.
        return shared

    def val_dataloader(self) -> Any:
        return self._own_loader("val_dataloader") if self.has_validation else []

    def test_dataloader(self) -> Any:
        return self._own_loader("test_dataloader")

    def predict_dataloader(self) -> Any:
        """Return the module's own loader for predictions, or else the test part."""
        if is_overridden("predict_dataloader", self._own):
            return self._own_loader("predict_dataloader")
        return self._own_loader("test_dataloader")

    def state_dict(self) -> dict[str, Any]:
        return {"own": self._own.state_dict(), "loader": super().state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._own.load_state_dict(state_dict["own"])
        if state_dict["loader"]:
            super().load_state_dict(state_dict["loader"])


class EpochLoader:
    """The batches of any loader; what one draws at random is a function of (seed, epoch, batch)."""

    def __init__(self, loader: Any, seed: int, epoch: int, limit: int | None = None) -> None:
        self.loader, self.seed, self.epoch, self.limit = loader, seed, epoch, limit
        self.exact = _has_state(loader)
        self.position = 0
        self.ended = False

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        if self.ended:
            self.epoch, self.position, self.ended = self.epoch + 1, 0, False
        _set_sampler_epoch(self.loader, self.epoch)
        length = sized_len(self.loader)
        self._seed()
        for batch in self.loader:
            self.position += 1
            self.ended = self.position in (length, self.limit)
            yield batch
            self._seed()
        self.ended = True

    def _seed(self) -> None:
        seed_generators(key_of(self.seed, self.epoch, self.position))

    def state_dict(self) -> dict[str, Any]:
        """Return the position, and the state of the loader if it has one."""
        state = self.loader.state_dict() if self.exact else None
        place = {"epoch": self.epoch, "position": self.position, "ended": self.ended}
        return {**place, "loader": state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load the position; without a state of the loader, the start of an epoch."""
        self.epoch, self.ended = state["epoch"], state["ended"]
        self.position = state["position"] if self.exact else 0
        if self.exact:
            self.loader.load_state_dict(state["loader"])


class _Together:
    """The state of several loaders."""

    def __init__(self, loaders: list[EpochLoader]) -> None:
        self.loaders = loaders

    def state_dict(self) -> dict[str, Any]:
        return {"loaders": [loader.state_dict() for loader in self.loaders]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for loader, own in zip(self.loaders, state["loaders"], strict=True):
            loader.load_state_dict(own)


def _has_state(loader: Any) -> bool:
    return hasattr(loader, "state_dict") and hasattr(loader, "load_state_dict")
