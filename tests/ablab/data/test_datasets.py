"""Data sets that are read sample by sample: their order, their position and what is drawn."""

import multiprocessing
import os
import random
import time
import weakref
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

from ablab.data.batches import Executions
from ablab.data.dataset_module import DatasetModule
from ablab.data.datasets import DatasetLoader
from ablab.data.fingerprints import of_dataset
from ablab.data.reading import Reading
from ablab.data.streams import StreamLoader
from ablab.errors import CheckpointError, DataError
from tests.forked import Process
from tests.launch import environment, wait_for
from toy.samples import NoisyPoints, StatefulStream, Stream, UnsizedStream

Batches = list[list[Tensor]]


def loader(rows: int = 23, batch_size: int = 4, workers: int = 0, **options: Any) -> DatasetLoader:
    return DatasetLoader(NoisyPoints(rows), batch_size, Reading(workers), **{"seed": 7, **options})


def stream(dataset: IterableDataset[Any], **options: Any) -> StreamLoader:
    start = dataset.state_dict() if hasattr(dataset, "state_dict") else None
    return StreamLoader(dataset, 4, Reading(), start=start, **{"seed": 7, **options})


def same(one: Batches, other: Batches) -> bool:
    ones, others = ([tensor for batch in batches for tensor in batch] for batches in (one, other))
    return len(ones) == len(others) and all(map(torch.equal, ones, others))


def test_workers_change_nothing_of_batches_and_of_what_is_drawn_after_them() -> None:
    drawn: list[list[tuple[float, float]]] = []
    epochs: list[list[Batches]] = []
    for workers in (0, 2):
        batches, draws = loader(workers=workers), []
        epochs.append([])
        for _ in range(2):
            epoch = []
            for batch in batches:
                epoch.append(batch)
                draws.append((random.random(), float(torch.rand(()))))
            epochs[-1].append(epoch)
        drawn.append(draws)
    assert all(same(a, b) for a, b in zip(*epochs, strict=True))
    assert not same(*epochs[0])
    assert drawn[0] == drawn[1]


def test_an_evaluation_draws_the_same_in_each_epoch() -> None:
    """Otherwise a continued run, which evaluates less often, would measure something else."""
    for batches in (loader(seed=None), stream(Stream(22), seed=None)):
        assert same(list(batches), list(batches))


def test_a_loader_that_is_dropped_in_mid_epoch_leaves_nothing_to_the_collector_of_cycles() -> None:
    batches = loader(workers=1)
    next(iterator := iter(batches))
    gone = weakref.ref(batches)
    del iterator, batches
    assert gone() is None


class Counted(Dataset[int]):
    def __init__(self, rows: int) -> None:
        self.rows, self.read = rows, list[int]()

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, index: int) -> int:
        self.read.append(index)
        return index


def test_an_epoch_goes_on_without_reading_what_was_consumed() -> None:
    first, second = Counted(20), Counted(20)
    whole = DatasetLoader(first, 4, Reading(), seed=3)
    batches = iter(whole)
    next(batches), next(batches)
    rest = DatasetLoader(second, 4, Reading(), seed=3)
    rest.load_state_dict(whole.state_dict())
    assert [b.tolist() for b in rest] == [b.tolist() for b in batches]
    assert second.read == first.read[8:]


def test_the_position_counts_batches_that_were_handed_out_and_not_those_read_ahead() -> None:
    batches = loader(40, workers=1)
    next(iterator := iter(batches))
    assert batches.state_dict()["position"] == 1
    del iterator


class Numbered(Dataset[int]):
    """Each sample is the process that has read it."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> int:
        return os.getpid()


def read_on_and_on(told: Path, method: str, workers: int) -> None:
    multiprocessing.set_start_method(method, force=True)
    batches = iter(DatasetLoader(Numbered(), 2, Reading(workers=workers)))
    for _ in range(workers):
        (told / str(next(batches).tolist()[0])).touch()
    time.sleep(600)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "workers"), [("fork", 2), ("forkserver", 1)])
def test_workers_end_with_a_killed_process(method: str, workers: int, tmp_path: Path) -> None:
    reading = partial(read_on_and_on, tmp_path, method, workers)
    with Process((), tmp_path, environment(), reading) as process:
        wait_for(lambda: len(list(tmp_path.iterdir())) == workers)
        process.kill()
    read_by = [file.name for file in tmp_path.iterdir()]
    wait_for(lambda: not any(Path(f"/proc/{worker}/exe").exists() for worker in read_by))


def test_rows_are_drawn_by_their_weights() -> None:
    weights = torch.tensor([0.0] * 20 + [1.0, 3.0], dtype=torch.float64)
    batches = DatasetLoader(Counted(22), 8, Reading(), seed=1, weights=weights)
    drawn = [index for batch in batches for index in batch.tolist()]
    assert len(drawn) == 22
    assert set(drawn) == {20, 21}


def test_a_row_that_is_drawn_twice_is_changed_in_two_ways() -> None:
    weights = torch.tensor([1.0, 0.0], dtype=torch.float64)
    (batch,) = DatasetLoader(NoisyPoints(2), 2, Reading(), seed=1, weights=weights)
    assert not torch.equal(batch[0][0], batch[0][1])


@pytest.mark.parametrize("rows", [40, 41, 43, 47, 48])
def test_ranks_take_different_samples_of_a_stream_and_equally_many_batches(rows: int) -> None:
    ranks = [
        [b.tolist() for b in stream(Numbers(rows), rank=rank, world_size=2)] for rank in range(2)
    ]
    assert [len(batch) for batch in ranks[0]] == [len(batch) for batch in ranks[1]]
    taken = [i for rank in ranks for batch in rank for i in batch]
    assert len(taken) == len(set(taken)) >= rows - 3
    assert len(stream(Numbers(rows), world_size=2)) == len(ranks[0])


class Numbers(IterableDataset[int]):
    def __init__(self, rows: int, promised: int | None = None) -> None:
        self.rows, self.promised = rows, promised

    def __len__(self) -> int:
        return self.rows if self.promised is None else self.promised

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.rows))


def test_a_stream_with_a_state_goes_on_in_mid_epoch() -> None:
    whole = stream(StatefulStream(22))
    batches = iter(whole)
    next(batches), next(batches)
    rest = stream(StatefulStream(22))
    rest.load_state_dict(whole.state_dict())
    assert same(list(rest), list(batches))
    assert same(list(rest), list(whole))  # the next epoch, from the start


def test_a_stream_without_a_state_goes_on_from_the_start_of_its_epoch() -> None:
    whole = stream(Stream(22))
    first = list(whole)
    batches = iter(whole)
    next(batches)
    second = stream(Stream(22))
    second.load_state_dict(whole.state_dict())
    again = list(second)
    assert len(again) == len(first)
    assert not same(again, first)


def test_a_stream_in_a_worker_gives_the_same() -> None:
    here, there = (
        StreamLoader(StatefulStream(22), 4, Reading(workers), start={"index": 0}, seed=1)
        for workers in (0, 3)
    )
    for _ in range(2):
        assert same(list(here), list(there))
    assert here.state_dict() == there.state_dict()


def test_without_a_length_lightning_is_one_batch_behind() -> None:
    batches = Executions(stream(UnsizedStream(22)), 2)
    iterator = iter(batches)
    _, second = next(iterator), next(iterator)  # Lightning trains on the first now
    assert batches.state_dict()["position"] == 2
    assert batches.state_dict()["state"] == {"index": 8}
    trainer = MagicMock()
    again = Executions(stream(UnsizedStream(22)), 2, trainer)
    again.load_state_dict(batches.state_dict())
    next(iter(again))  # Lightning does so once more than needed when it resumes
    assert same(next(iter(again)), second)
    trainer.fit_loop._data_fetcher.batches.clear.assert_called_once_with()
    assert len(list(iterator)) == 1
    assert batches.state_dict()["epoch"] == 1


def test_a_length_that_a_stream_does_not_keep_is_refused() -> None:
    with pytest.raises(DataError, match="fewer than the 10 that its length promises"):
        list(stream(Numbers(20, promised=40)))


def test_a_state_that_no_checkpoint_can_hold_is_refused() -> None:
    dataset = StatefulStream(22)
    dataset.state_dict = lambda: {"at": Path()}  # type: ignore[method-assign,assignment]
    batches = stream(dataset)
    batches.state = {"at": Path()}
    with pytest.raises(DataError, match=r"StatefulStream\.state_dict: has a PosixPath"):
        batches.state_dict()


def test_another_order_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"drawn with batch_size 5 \(now 4\)"):
        stream(Stream(22)).load_state_dict(stream(Stream(22)).state_dict() | {"batch_size": 5})


def test_files_are_told_by_name_size_and_time_wherever_they_lie(tmp_path: Path) -> None:
    def files(folder: str) -> Counted:
        dataset = Counted(2)
        (tmp_path / folder).mkdir(exist_ok=True)
        dataset.files = [tmp_path / folder / name for name in "ab"]  # type: ignore[attr-defined]
        for file in dataset.files:  # type: ignore[attr-defined]
            file.write_text(file.name)
            os.utime(file, ns=(1, 1))
        return dataset

    one, other = files("one"), files("other")
    assert of_dataset(one) == of_dataset(other)
    (tmp_path / "other" / "a").write_text("changed")
    assert of_dataset(one) != of_dataset(other)


def test_what_cannot_be_fingerprinted_says_so() -> None:
    assert of_dataset(NoisyPoints(3)) == {"rows": 3, "fingerprint": "not fingerprinted"}
    tensors = TensorDataset(torch.arange(4))
    parts = [of_dataset(Subset(tensors, chosen)) for chosen in ([0, 1], [0, 2])]
    assert parts[0]["crc32"] == parts[1]["crc32"]
    assert parts[0]["chosen"] != parts[1]["chosen"]


def test_a_module_says_how_it_resumes() -> None:
    parts: list[Any] = [NoisyPoints(4), StatefulStream(4), UnsizedStream(4), Stream(4)]
    for part in parts:
        module = DatasetModule(train=part)
        module.setup("fit")
        without = type(part) is Stream
        assert (module.resumes == "from the epoch's start") is without
        assert not module.has_validation


class Faulty(NoisyPoints):
    def __getitem__(self, index: int) -> Any:
        return super().__getitem__(index) if index != 2 else self.fault()

    def fault(self) -> Any:
        raise KeyError("the label")


class Incomplete(Faulty):
    def fault(self) -> None:
        return None


class FaultyStream(Stream):
    def __iter__(self) -> Iterator[Any]:
        yield from super().__iter__()
        raise OSError("the connection is lost")


def test_the_fault_of_a_data_set_is_told_with_its_row_by_workers_too() -> None:
    for workers in (0, 1):
        with pytest.raises(DataError, match=r"^Faulty\[2\]: KeyError: 'the label' \(test_data.*py"):
            list(DatasetLoader(Faulty(4), 2, Reading(workers)))
        with pytest.raises(DataError, match=r"^FaultyStream, sample 4: OSError: the connection"):
            list(StreamLoader(FaultyStream(4), 2, Reading(workers)))
    with pytest.raises(DataError, match="cannot make a batch of 2 samples: TypeError: default_col"):
        list(DatasetLoader(Incomplete(4), 2, Reading()))
    with pytest.raises(DataError, match="<lambda>: returned None for a batch"):
        list(DatasetLoader(NoisyPoints(4), 2, Reading(collate=lambda samples: None)))


@pytest.mark.parametrize(
    ("part", "told"),
    [
        (NoisyPoints(0), "data.val: NoisyPoints has no rows"),
        (Dataset(), "data.val: Dataset has no __len__"),
        ([1, 2], "val is no torch Dataset"),
    ],
)
def test_a_part_that_cannot_be_read_is_refused(part: Any, told: str) -> None:
    with pytest.raises(DataError, match=told):
        DatasetModule(train=NoisyPoints(4), val=part).setup("fit")


def test_a_stream_that_gives_nothing_is_refused() -> None:
    with pytest.raises(DataError, match="UnsizedStream: gave no sample"):
        list(stream(UnsizedStream(0)))
