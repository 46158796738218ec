"""Ratings on disk: what is drawn, that it is kept and mended, and parts as in memory."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ablab.data import batches as loader
from ablab.data.files import column_folder
from ablab.data.files.column_folder import ColumnFolder
from ablab.data.splits import Indices, hold_out
from ablab.errors import DataError
from ablab.runs.record import RunRecord
from lesson5.ratings.large import LargeRatings
from lesson5.ratings.large_synthetic import LargeSyntheticRatings
from lesson5.ratings.module import RatingsDataModule, RatingTable
from tests.launch import TINY, launch


@pytest.fixture(autouse=True)
def work_in_small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(column_folder, "CHUNK", 1000)


def synthetic(
    root: Path, n_ratings: int = 4500, n_items: int = 1500, **more: int
) -> LargeSyntheticRatings:
    return LargeSyntheticRatings(
        root=str(root),
        n_users=60,
        n_items=n_items,
        n_ratings=n_ratings,
        test_fraction=0.2,
        validation_fraction=0.1,
        batch_size=64,
        eval_batch_size=1000,
        split_seed=1,
        order_seed=2,
        **more,
    )


class InMemory(RatingsDataModule):
    """The same table and split, the usual way."""

    def __init__(self, other: LargeRatings) -> None:
        super().__init__(batch_size=64, eval_batch_size=1000, order_seed=2)
        self.other = other

    def load_table(self) -> tuple[RatingTable, str]:
        table, source = self.other.load_table()
        columns = (table.users.astype(np.int64), table.items.astype(np.int64), table.ratings)
        return RatingTable(*columns, table.titles), source

    def split_rows(self, table: RatingTable) -> dict[str, Indices]:
        rest, test = hold_out(np.arange(len(table.ratings)), 0.2, 1)
        train, val = hold_out(rest, 0.1, 1)
        return {"train": train, "val": val, "test": test}


def test_what_is_drawn(tmp_path: Path) -> None:
    table, _ = synthetic(tmp_path, n_items=200).load_table()
    activity = np.bincount(table.users, minlength=61)
    assert activity[0] == 0
    assert activity[1:].min() >= 20
    assert activity.sum() == len(table.items) == 4500
    assert np.all(np.diff(table.users) >= 0)
    assert set(np.unique(table.ratings)) <= set(np.arange(0.5, 5.5, 0.5))
    popularity = np.bincount(table.items, minlength=201)
    expected = (np.arange(1, 201) + 342.0) ** -2.13
    expected *= 4500 / expected.sum()
    assert popularity[0] == 0
    chi_square = ((popularity[1:] - expected) ** 2 / expected).sum()
    assert chi_square < 199 + 4 * (2 * 199) ** 0.5


def test_the_seed_says_what_is_drawn(tmp_path: Path) -> None:
    one, again, other = (
        synthetic(tmp_path / name, data_seed=seed).load_table()[0].ratings
        for name, seed in (("one", 1), ("again", 1), ("other", 2))
    )
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_too_few_ratings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.n_ratings: should be at least 1,200"):
        synthetic(tmp_path, n_ratings=1000)


def test_parts_are_those_of_data_in_memory(tmp_path: Path) -> None:
    on_disk = synthetic(tmp_path)
    on_disk.setup("fit")
    in_memory = InMemory(synthetic(tmp_path))
    in_memory.setup("fit")
    assert on_disk.sizes == in_memory.sizes
    assert on_disk.sizes["n_items"] < 1501  # some are not in the training part
    assert on_disk.item_names == in_memory.item_names
    assert on_disk.test_table() == in_memory.test_table()
    assert on_disk.baselines() == in_memory.baselines()
    assert np.array_equal(on_disk.item_mean_rating, in_memory.item_mean_rating)
    for part, columns in on_disk.parts.items():
        for ours, theirs in zip(columns, in_memory.parts[part], strict=True):
            assert torch.equal(ours, theirs.to(ours.dtype))
    assert 0 in on_disk.parts["test"][1]
    assert [c.dtype for c in on_disk.parts["train"]] == [torch.int32, torch.int32, torch.float32]


def test_what_is_there_is_read_and_what_is_damaged_is_written_again(tmp_path: Path) -> None:
    first = synthetic(tmp_path)
    first.setup("fit")
    files = sorted(first.folder().rglob("*.npy"))
    before = {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in files}
    synthetic(tmp_path).setup("fit")
    assert all(file.stat().st_mtime_ns == before[file][0] for file in files)
    for file in (first.folder() / "item.npy", *first.folder().rglob("train_user.npy")):
        damaged = bytearray(before[file][1])
        damaged[-1] ^= 1
        file.write_bytes(damaged)
    again = synthetic(tmp_path)
    again.setup("fit")
    assert all(file.read_bytes() == before[file][1] for file in files)


def test_columns_that_were_not_finished_are_not_there(tmp_path: Path) -> None:
    folder = ColumnFolder(tmp_path)
    folder.add("a", "<i4", 3, [np.array([1, 2]), np.array([3])])
    assert ColumnFolder(tmp_path).read() is None
    folder.finish()
    columns = ColumnFolder(tmp_path).read()
    assert columns is not None
    assert columns["a"].tolist() == [1, 2, 3]
    assert isinstance(columns["a"], np.memmap)


def test_a_column_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written"):
        ColumnFolder(tmp_path / "file").add("a", "<i4", 1, [np.array([1])])


def test_batches_of_large_tables_are_those_of_small_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = (torch.arange(103), torch.rand(103))
    small = list(loader.TensorLoader(tensors, 10, seed=3))
    monkeypatch.setattr(loader, "_LARGE_COPY", 0)
    large = list(loader.TensorLoader(tensors, 10, seed=3))
    for ours, theirs in zip(large, small, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_a_sparse_run_on_them(tmp_path: Path) -> None:
    sizes = ["data.n_users=60", "data.n_items=200", "data.n_ratings=2000", "data.batch_size=64"]
    recipe = [*TINY, "data=synthetic_25m", *sizes, "model.sparse=true", "optim=rowwise_adagrad"]
    launch([*recipe, f"paths.data={tmp_path}", "trainer.max_epochs=1"], tmp_path / "run")
    record = RunRecord.read(tmp_path / "run")
    assert record.status == "done"
    assert record.metrics["test"]["rmse"] < 2
