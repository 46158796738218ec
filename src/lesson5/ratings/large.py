"""Ratings by the ten million: memory-mapped columns, encoded once for each split."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ablab.config.schema import Count, Fraction, Seed, Text
from ablab.data.files.column_folder import ColumnFolder, Columns, read_or_write, row_chunks
from ablab.data.splits import Indices, hold_out
from ablab.errors import DataError
from lesson5.ratings.module import EncodedRatings, RatingsDataModule, RatingTable


class LargeRatings(RatingsDataModule):
    """Ratings whose columns and encoded parts are mapped from ``folder()``: processes that read
    them share one copy in memory.

    A subclass has the columns and ``titles``. Ids of users and items are whole numbers from 0, the
    largest not far beyond how many there are; indices are int32.

    Args:
        root: folder of the data.
        test_fraction: share of all rows; validation_fraction: share of the rest, 0 for none; both
            drawn by ``split_seed``.
    """

    def __init__(
        self,
        root: Text,
        test_fraction: Fraction,
        validation_fraction: Fraction,
        batch_size: Count,
        eval_batch_size: Count,
        split_seed: Seed,
        order_seed: Seed,
    ) -> None:
        super().__init__(
            batch_size=batch_size, eval_batch_size=eval_batch_size, order_seed=order_seed
        )
        self.root = Path(root)
        self.test_fraction = test_fraction
        self.validation_fraction = validation_fraction
        self.split_seed = split_seed
        self._fetched: tuple[Columns, str] | None = None

    def folder(self) -> Path:
        raise NotImplementedError

    def fetch_columns(self) -> tuple[Columns, str]:
        """``user``, ``item`` (both int32) and ``rating`` (float32), in ``folder()``, and where they
        came from. Raises DataError."""
        raise NotImplementedError

    def titles(self) -> dict[int, str]:
        """By item id."""
        raise NotImplementedError

    def fetched(self) -> tuple[Columns, str]:
        """``fetch_columns``, once."""
        if self._fetched is None:
            self._fetched = self.fetch_columns()
        return self._fetched

    def prepare_data(self) -> None:
        self.fetched()

    def load_table(self) -> tuple[RatingTable, str]:
        columns, source = self.fetched()
        table = RatingTable(columns["user"], columns["item"], columns["rating"], self.titles())
        return table, source

    def split_rows(self, table: RatingTable) -> dict[str, Indices]:
        rest, test = hold_out(np.arange(len(table.ratings)), self.test_fraction, self.split_seed)
        if self.validation_fraction == 0:
            return {"train": rest, "test": test}
        train, val = hold_out(rest, self.validation_fraction, self.split_seed)
        return {"train": train, "val": val, "test": test}

    def encode_table(self, table: RatingTable) -> EncodedRatings:
        split = f"split={self.split_seed},{self.test_fraction:g},{self.validation_fraction:g}"
        columns = read_or_write(
            self.folder() / split, lambda folder: self._write_encoded(table, folder)
        )
        parts = ("train", "val", "test") if self.validation_fraction else ("train", "test")
        return EncodedRatings(
            columns["user_ids"],
            columns["item_ids"],
            {p: [columns[f"{p}_{name}"] for name in ("user", "item", "rating")] for p in parts},
            columns["test_rows"],
        )

    def _write_encoded(self, table: RatingTable, folder: ColumnFolder) -> None:
        rows = self.split_rows(table)
        if len(rows["train"]) == 0 or len(rows["test"]) == 0:
            raise DataError(f"{type(self).__name__}: the split leaves no training or no test rows")
        folder.add("test_rows", "<i4", len(rows["test"]), [rows["test"]])
        for name, ids in (("user", table.users), ("item", table.items)):
            seen = np.zeros(int(ids.max()) + 1, dtype=bool)
            for chunk in _taken(ids, rows["train"]):
                seen[chunk] = True
            known = np.flatnonzero(seen)
            folder.add(f"{name}_ids", "<i4", len(known), [known])
            index = np.where(seen, np.cumsum(seen), 0)  # 1 + place among the known, 0: unknown
            for part, of in rows.items():
                indices = (index[chunk] for chunk in _taken(ids, of))
                folder.add(f"{part}_{name}", "<i4", len(of), indices)
        for part, of in rows.items():
            folder.add(f"{part}_rating", "<f4", len(of), _taken(table.ratings, of))


def _taken(column: NDArray[Any], rows: Indices) -> Iterator[NDArray[Any]]:
    return (column[rows[chunk]] for chunk in row_chunks(len(rows)))
