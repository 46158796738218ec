"""Data sets that are read sample by sample, and draw at random from every generator there is."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, default_collate

from ablab.config.schema import Count, NotNegative, Seed

N_INPUTS, N_CLASSES = 6, 3
Sample = tuple[Tensor, int]


def point(index: int, noise: float, seed: int = 0) -> Sample:
    """Return a point of class ``index % N_CLASSES``, changed at random."""
    label = index % N_CLASSES
    place = torch.Generator().manual_seed(1000 * seed + index)
    centre = torch.eye(N_INPUTS)[label] + 0.3 * torch.randn(N_INPUTS, generator=place)
    drawn = torch.rand(N_INPUTS) + random.random() + float(np.random.rand())
    return centre + noise * drawn, label


class NoisyPoints(Dataset[Sample]):
    """Points of ``N_CLASSES`` classes by number."""

    def __init__(self, n_rows: Count, noise: NotNegative = 0.1, data_seed: Seed = 0) -> None:
        self.n_rows, self.noise, self.data_seed = n_rows, noise, data_seed
        self.sizes = {"n_inputs": N_INPUTS, "n_classes": N_CLASSES}
        self.classes = [f"class {i}" for i in range(N_CLASSES)]

    def __len__(self) -> int:
        return self.n_rows

    def __getitem__(self, index: int) -> Sample:
        return point(index, self.noise, self.data_seed)


class StoredPoints(NoisyPoints):
    """The points whose number lies in ``root/rows.txt``."""

    def __init__(self, root: str) -> None:
        self.files = [Path(root, "rows.txt")]
        super().__init__(int(self.files[0].read_text()))


class Stream(IterableDataset[Sample]):
    """The same points one after the other, without a state."""

    def __init__(self, n_rows: Count, noise: NotNegative = 0.1) -> None:
        self.n_rows, self.noise = n_rows, noise
        self.sizes = {"n_inputs": N_INPUTS, "n_classes": N_CLASSES}

    def __len__(self) -> int:
        return self.n_rows

    def __iter__(self) -> Iterator[Sample]:
        for index in range(self.n_rows):
            yield point(index, self.noise)


class StatefulStream(Stream):
    """The same with a state."""

    index = 0

    def __iter__(self) -> Iterator[Sample]:
        while self.index < self.n_rows:
            self.index += 1
            yield point(self.index - 1, self.noise)
        self.index = 0

    def state_dict(self) -> dict[str, Any]:
        return {"index": self.index}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.index = state["index"]


class UnsizedStream(StatefulStream):
    """The same with a state, and without a length."""

    def __len__(self) -> int:
        raise TypeError("an unsized stream has no length")


class OwnLoaders(LightningDataModule):
    """A data module of Lightning's kind, which knows nothing of this engine."""

    def __init__(self, n_rows: Count = 100, batch_size: Count = 8, workers: int = 0) -> None:
        super().__init__()
        self.n_rows, self.batch_size, self.workers = n_rows, batch_size, workers
        self.sizes = {"n_inputs": N_INPUTS, "n_classes": N_CLASSES}

    def setup(self, stage: str) -> None:
        self.train = NoisyPoints(self.n_rows)
        samples = [point(index, 0.0, seed=1) for index in range(30)]
        labels = torch.tensor([label for _, label in samples])
        self.held_out = TensorDataset(torch.stack([x for x, _ in samples]), labels)

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.train, self.batch_size, shuffle=True, num_workers=self.workers)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.held_out, 16)

    def test_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.held_out, 16)


class StatefulLoader:
    """Batches in an order of its own, which has a state, as torchdata's loader has."""

    def __init__(self, samples: list[Sample], batch_size: int) -> None:
        self.samples, self.batch_size = samples, batch_size
        self.order: list[int] = []

    def __len__(self) -> int:
        return -(-len(self.samples) // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        self.order = self.order or torch.randperm(len(self.samples)).tolist()
        while self.order:
            rows, self.order = self.order[: self.batch_size], self.order[self.batch_size :]
            yield default_collate([self.samples[row] for row in rows])

    def state_dict(self) -> dict[str, Any]:
        return {"order": list(self.order)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.order = state["order"]


class UnsizedLoader(StatefulLoader):
    """The same without a length."""

    def __len__(self) -> int:
        raise TypeError("an unsized loader has no length")


class StatefulLoaders(OwnLoaders):
    """A data module whose training loader goes on in mid-epoch."""

    loader = StatefulLoader

    def train_dataloader(self) -> Any:
        samples = [point(index, 0.0) for index in range(self.n_rows)]
        return self.loader(samples, self.batch_size)


class UnsizedLoaders(StatefulLoaders):
    """The same without a length."""

    loader = UnsizedLoader
