"""Columns of a table as category indices and standardised numbers, fitted on training rows."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ablab.errors import DataError

UNKNOWN = 0  # index of a missing value, and of one that no training row has


@dataclass(frozen=True)
class ColumnEncoder:
    """The encoding of each column, which follows from the training rows.

    Attributes:
        vocabularies: by categorical column, its values in ascending order; the first has index 1.
        continuous: by continuous column, mean and standard deviation.
        flagged: continuous columns with missing values: each has a categorical column beside it,
            1 where the value is there, 2 where it is missing (and the mean stands for it).
    """

    vocabularies: dict[str, pl.Series]
    continuous: dict[str, tuple[float, float]]
    flagged: list[str]

    @classmethod
    def fit(
        cls, train: pl.DataFrame, categorical: list[str], continuous: list[str]
    ) -> "ColumnEncoder":
        """Return the encoder of the training rows.

        Raises:
            DataError: a column has one value only, or is of a kind that it cannot be.
        """
        vocabularies = {}
        for name in categorical:
            values = _categories(train, name)
            if values.n_unique() < 2:  # missing counts as a value
                raise DataError(_constant(name, values[0], len(values)))
            vocabularies[name] = values.drop_nulls().unique().sort()
        statistics, flagged = {}, []
        for name in continuous:
            values = _numbers(train, name)
            known = values[~np.isnan(values)]
            if len(known) == 0 or np.ptp(known) == 0:
                raise DataError(_constant(name, known[0] if len(known) else "missing", len(values)))
            statistics[name] = (float(known.mean()), float(known.std()))
            if len(known) < len(values):
                flagged.append(name)
        return cls(vocabularies, statistics, flagged)

    @property
    def n_categories(self) -> list[int]:
        """The numbers of categories, with the unknown one: of the columns, then of the flags."""
        return [len(v) + 1 for v in self.vocabularies.values()] + [3] * len(self.flagged)

    @property
    def categorical_names(self) -> list[str]:
        return [*self.vocabularies, *(f"{name} missing" for name in self.flagged)]

    def encode(self, table: pl.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Categories (rows, n_categorical) and continuous (rows, n_continuous)."""
        categories = [
            _index_in(v, _categories(table, name)) for name, v in self.vocabularies.items()
        ]
        continuous = []
        for name, (mean, std) in self.continuous.items():
            values = _numbers(table, name)
            missing = np.isnan(values)
            continuous.append(np.where(missing, 0.0, (values - mean) / std))
            if name in self.flagged:
                categories.append(1 + missing.astype(np.int64))
        rows = len(table)
        return (
            np.stack(categories, axis=1) if categories else np.zeros((rows, 0), np.int64),
            np.stack(continuous, axis=1).astype(np.float32)
            if continuous
            else np.zeros((rows, 0), np.float32),
        )


def _categories(table: pl.DataFrame, name: str) -> pl.Series:
    """A column whose missing values are null; raises DataError for dates, lists and the like."""
    column = table[name]
    if column.dtype.is_float():
        return column.fill_nan(None)
    if column.dtype.is_integer() or column.dtype in (
        pl.String,
        pl.Boolean,
        pl.Enum,
        pl.Categorical,
    ):
        return column
    raise DataError(
        f"column '{name}': of type {column.dtype}, is no category; write what matters of it "
        f"(month, weekday) as columns of its own, or leave it out with data.exclude=[{name}]"
    )


def _index_in(vocabulary: pl.Series, values: pl.Series) -> NDArray[np.int64]:
    if vocabulary.dtype.is_integer() and values.dtype.is_float():  # of another file; 2.5 is unknown
        values = values.set(values % 1 != 0, None).cast(vocabulary.dtype)
    numbered = pl.DataFrame({"value": vocabulary, "index": range(1, len(vocabulary) + 1)})
    joined = pl.DataFrame({"value": values}).join(
        numbered, on="value", how="left", maintain_order="left"
    )
    return joined["index"].fill_null(UNKNOWN).cast(pl.Int64).to_numpy().copy()


def _numbers(table: pl.DataFrame, name: str) -> NDArray[np.float64]:
    """A column as float64, NaN where it is missing; raises DataError for infinities and words."""
    column = table[name]
    if not column.dtype.is_numeric() and column.dtype != pl.Boolean:
        raise DataError(
            f"column '{name}': of type {column.dtype}, cannot be continuous; make it categorical "
            f"or leave it out with data.exclude=[{name}]"
        )
    values = column.cast(pl.Float64).to_numpy()  # null becomes nan
    infinite = np.flatnonzero(np.isinf(values))
    if len(infinite):
        raise DataError(
            f"column '{name}': {len(infinite)} of {len(values)} values are infinite, the first in "
            f"row {infinite[0] + 1}; correct them, or leave the column out with "
            f"data.exclude=[{name}]"
        )
    return values


def _constant(name: str, value: Any, rows: int) -> str:
    return (
        f"column '{name}': is {'empty' if value is None else value} in all {rows:,} training rows; "
        f"leave it out with data.exclude=[{name}]"
    )
