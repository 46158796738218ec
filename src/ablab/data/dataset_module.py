"""Data as data sets that are read sample by sample."""

from collections.abc import Mapping
from typing import Any

from lightning.fabric.utilities.data import sized_len
from torch import nn
from torch.utils.data import Dataset, IterableDataset

from ablab.data.module import PartsDataModule
from ablab.data.reading import raise_as_data_error
from ablab.errors import DataError


class DatasetModule(PartsDataModule):
    """Train, validation and test parts as ``Dataset``s, read by worker processes if so configured.

    Samples are ``(*inputs, target)`` for a ``SupervisedModule``. A data set may have, beside its
    rows: ``sizes`` (what a model must know, by argument), ``classes`` (their names), ``files`` (for
    the fingerprint), ``sample_weights``, and, if it is iterable, ``state_dict`` and
    ``load_state_dict``.

    Args:
        train, val, test: the data sets; a subclass may make them in ``datasets`` instead.
        collate_fn: makes a batch of a list of samples; without one, torch's ``default_collate``.
    """

    eval_batch_size = 128

    def __init__(
        self,
        train: Dataset[Any] | None = None,
        val: Dataset[Any] | None = None,
        test: Dataset[Any] | None = None,
        collate_fn: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self._given = {"train": train, "val": val, "test": test}
        if collate_fn is not None:
            self.collate_fn = collate_fn

    def datasets(self) -> Mapping[str, Dataset[Any] | None]:
        """Return the data sets "train", "val" and "test"; those that are None are left out."""
        return self._given

    def setup(self, stage: str) -> None:
        if self.parts:
            return
        self.parts = {name: part for name, part in self.datasets().items() if part is not None}
        if "train" not in self.parts:
            raise DataError(f"{type(self).__name__}: has no data set train; set data.train")
        for name, part in self.parts.items():
            if not isinstance(part, Dataset):
                raise DataError(f"{type(self).__name__}: {name} is no torch Dataset")
            _refuse_no_rows(name, part)

    @property
    def sizes(self) -> dict[str, Any]:
        return getattr(self.parts["train"], "sizes", {})

    def class_names(self, n_classes: int) -> list[str]:
        classes = getattr(self.parts["train"], "classes", None)
        return super().class_names(n_classes) if classes is None else list(classes)


def _refuse_no_rows(name: str, part: Dataset[Any]) -> None:
    kind = type(part).__name__
    with raise_as_data_error(f"data.{name}: {kind} has no length"):
        rows = sized_len(part)
    if rows is None and not isinstance(part, IterableDataset):
        raise DataError(f"data.{name}: {kind} has no __len__; add one, or make it IterableDataset")
    if rows == 0:
        raise DataError(f"data.{name}: {kind} has no rows; name one that has, or leave it out")
