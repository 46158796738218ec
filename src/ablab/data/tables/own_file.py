"""A table of your own, from a CSV or Parquet file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
import torch
from pydantic import Field

from ablab.config.schema import Count, Fraction, Integer, Text
from ablab.config.suggestions import suggestion
from ablab.data.module import Loader
from ablab.data.splits import Indices, split_fold, split_rows
from ablab.data.tables.csv_table import MISSING, other_separator, word_among_numbers
from ablab.data.tables.module import TableDataModule, class_numbers, require_columns
from ablab.data.tables.table_file import FileFormat
from ablab.errors import ConfigError, DataError


class Table(TableDataModule):
    """Predicts a column of a file, or several, from its other columns.

    Args:
        path: a ``.csv`` (UTF-8, names in the first row) or ``.parquet`` file.
        target: name of the column that is predicted, or a list of the names of columns of numbers.
        target_kind: ``number`` or ``class``; ``auto``: words and booleans are classes.
        split: ``random`` (drawn by ``split_seed``) or ``last`` (for rows in time order); validation
            rows are held out of the training rows in the same way.
        test_fraction: share of all rows; validation_fraction: share of the rest, 0 for none.
        folds: instead of ``test_fraction``, the number of equal parts of all rows, of which number
            ``fold`` (from 0) is the test part. The parts are drawn by ``split_seed``, those of
            classes with equal shares of each; with ``split=last`` they are blocks of rows.
        categorical, continuous: names of columns; None for those that the other list and
            ``exclude`` leave: words, booleans, and integers with at most ``max_categories``
            different training values are categorical, all other numbers continuous.
        exclude: names of columns that are no input.
        missing: words that stand for a missing value in a CSV file, beside the usual ones
            (``csv_table.MISSING``).
        separator: between the values of a CSV file.
        decimal: whether a CSV file has 1.5 or 1,5.
    """

    def __init__(
        self,
        path: Text,
        target: Text | list[Text],
        split: Literal["random", "last"],
        test_fraction: Fraction,
        validation_fraction: Fraction,
        categorical: list[Text] | None = None,
        continuous: list[Text] | None = None,
        exclude: list[Text] | None = None,
        max_categories: Count = 30,
        missing: list[Text] | None = None,
        separator: Text = ",",
        decimal: Literal["point", "comma"] = "point",
        target_kind: Literal["auto", "number", "class"] = "auto",
        folds: Annotated[Integer, Field(ge=2)] | None = None,
        fold: Annotated[Integer, Field(ge=0)] = 0,
    ) -> None:
        super().__init__()
        self.path = Path(path)
        self.target = target
        self.split = split
        self.test_fraction = test_fraction
        self.validation_fraction = validation_fraction
        self.categorical, self.continuous = categorical, continuous
        self.exclude = exclude or []
        self.max_categories = max_categories
        separator = "\t" if separator == r"\t" else separator  # a shell passes on both
        self.format = FileFormat(separator, [*MISSING, *(missing or [])], decimal)
        self.target_kind = target_kind
        self.folds, self.fold = folds, fold
        if folds is not None and fold >= folds:
            raise ConfigError(f"data.fold: should be below data.folds={folds} (it is {fold})")
        if folds is None and fold:
            raise ConfigError("data.fold: needs data.folds; for example data.folds=5")
        self.notes: list[str] = []
        self._new_rows: pl.DataFrame | None = None

    def load_table(self) -> tuple[pl.DataFrame, str]:
        table = self.format.read(self.path)
        if len(table) == 0:
            raise DataError(f"{self.path}: has no rows")
        if not self.targets:
            raise DataError("data.target: names no column")
        separator = self.format.separator
        for target in self.targets:
            if target not in table.columns:
                raise DataError(
                    f"data.target: {self.path.name} has no column '{target}'"
                    f"{suggestion(target, table.columns)}"
                    f"{other_separator(separator.join(table.columns), separator)}"
                )
        excluded = require_columns(table, self.exclude, self.target, "data.exclude")
        self.table = table.drop(excluded)
        if self.target_kind != "class":
            self._refuse_words_among_numbers(self.targets, 0)
        return self.table, str(self.path)

    def is_class(self, target: pl.Series) -> bool:
        if self.target_kind == "auto":
            return super().is_class(target)
        return self.target_kind == "class"

    def split_rows(self, table: pl.DataFrame) -> dict[str, Indices]:
        if self.folds is not None:
            if len(table) < 2 * self.folds:
                raise DataError(f"data.folds: {len(table)} rows are too few for {self.folds} parts")
            labels = np.zeros(len(table), np.int64)
            if self.classes is not None:
                labels, _ = class_numbers(table, self.targets[0])
            return split_fold(
                labels,
                n_folds=self.folds,
                fold=self.fold,
                last=self.split == "last",
                validation_fraction=self.validation_fraction,
                seed=self.split_seed,
            )
        return split_rows(
            len(table),
            last=self.split == "last",
            test_fraction=self.test_fraction,
            validation_fraction=self.validation_fraction,
            seed=self.split_seed,
        )

    def column_kinds(self, train: pl.DataFrame) -> tuple[list[str], list[str]]:
        categorical = require_columns(
            train, self.categorical or [], self.target, "data.categorical"
        )
        continuous = require_columns(train, self.continuous or [], self.target, "data.continuous")
        both = sorted(set(categorical) & set(continuous))
        if both:
            raise DataError(f"data.continuous: '{both[0]}' is in data.categorical as well")
        self._refuse_words_among_numbers(continuous, 0)
        if self.categorical is not None and self.continuous is not None:
            return categorical, continuous
        used = {*self.targets, *categorical, *continuous}
        rest = [name for name in train.columns if name not in used]
        self._refuse_words_among_numbers(rest, self.max_categories)
        by_values = {name: self._is_categorical(train[name]) for name in rest}
        if self.continuous is None:
            continuous = [name for name in rest if not by_values[name]]
        if self.categorical is None:
            categorical = [name for name in rest if by_values[name]]
        for name in rest:
            if name in (*categorical, *continuous) and train[name].dtype.is_numeric():
                self._look_for_an_index(train[name], continuous)
                if any(self.table[name].equals(self.table[target]) for target in self.targets):
                    raise DataError(f"column '{name}': is a copy of the target; {_leave_out(name)}")
        return categorical, continuous

    def _is_categorical(self, values: pl.Series) -> bool:
        if values.dtype.is_integer():
            return values.n_unique() <= self.max_categories
        if values.dtype == pl.String and len(values) > 1 and values.n_unique() == len(values):
            raise DataError(
                f"column '{values.name}': is different in every training row, as a name or a date "
                f"is; {_leave_out(values.name)}"
            )
        return not values.dtype.is_numeric()

    def _refuse_words_among_numbers(self, names: list[str], max_categories: int) -> None:
        """Raise DataError, with the row and the cell, if a column has a few words among numbers.

        Whole numbers of at most ``max_categories`` values are categories, of which words may be.
        """
        for column in self.table[names] if self.path.suffix.lower() == ".csv" else []:
            if fault := word_among_numbers(column, max_categories, self.format.decimal):
                raise DataError(fault)

    def _look_for_an_index(self, train: pl.Series, continuous: list[str]) -> None:
        """Refuse or note whole numbers that are different in every row.

        Raises:
            DataError: they count the rows, or go up or down with them. The rows may be sorted by
                the target, which the model would then find in the column.
        """
        if train.null_count() or train.n_unique() < len(train) or not (train % 1 == 0).all():
            return
        name, values = train.name, self.table[train.name]
        counts = len(values) == values.max() - values.min() + 1  # type: ignore[operator]
        kept = continuous if name in continuous else [*continuous, name]
        if counts or values.is_sorted() or values.is_sorted(descending=True):
            raise DataError(
                f"column '{name}': numbers the rows, as a saved index does; {_leave_out(name)}, "
                f"or keep it with data.continuous=[{','.join(kept)}]"
            )
        self.notes.append(
            f"column '{name}' is a different whole number in every row, as an id is; "
            f"{_leave_out(name)} if it is one"
        )

    def summary(self) -> str:
        return "; ".join([super().summary(), *self.notes])

    def title(self) -> str:
        parts = f"split {self.split}"
        if self.folds is not None:
            parts = f"fold {self.fold} of {self.folds}, {parts}"
        return f"{self.path.name}, target {', '.join(self.targets)}, {parts}"

    # -- rows of another file ----------------------------------------------------------------------

    def predict_from(self, path: Path) -> None:
        """Read other rows, with or without the target, as those that are predicted.

        Raises:
            DataError: the file cannot be read, or lacks a column that the model needs.
        """
        table = self.format.read(path, self.table.schema)
        needed = [*self.encoder.vocabularies, *self.encoder.continuous]
        missing = [name for name in needed if name not in table.columns]
        if missing:
            raise DataError(
                f"data.path: {path.name} lacks the column '{missing[0]}'"
                f"{suggestion(missing[0], table.columns)}, which the model needs"
            )
        if len(table) == 0:
            raise DataError(f"{path}: has no rows")
        self._new_rows = table
        categories, continuous = self.encoder.encode(table)
        inputs = torch.from_numpy(categories), torch.from_numpy(continuous)
        self.parts["new"] = (*inputs, torch.zeros(len(table)))  # a prediction needs no target

    def predict_dataloader(self) -> Loader:
        return self.batches("test" if self._new_rows is None else "new")

    def test_table(self) -> dict[str, Sequence[Any]]:
        table = super().test_table() if self._new_rows is None else self._new_rows.to_dict()
        return {name: list(column) for name, column in table.items()}


def _leave_out(name: str) -> str:
    return f"leave it out with data.exclude=[{name}]"
