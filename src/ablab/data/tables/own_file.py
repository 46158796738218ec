"""A table of your own, from a CSV or Parquet file."""

import io
from pathlib import Path
from typing import Literal

import polars as pl
from polars.exceptions import NoDataError, PanicException, PolarsError

from ablab.config.schema import Count, Fraction, Text
from ablab.config.suggestions import suggestion
from ablab.data.splits import Indices, split_rows
from ablab.data.tables.csv_table import (
    MISSING,
    Decimal,
    other_separator,
    parse_csv,
    word_among_numbers,
)
from ablab.data.tables.module import TableDataModule, require_columns
from ablab.errors import DataError, first_line


class Table(TableDataModule):
    """Predicts a numeric column of a file from its other columns.

    Args:
        path: a ``.csv`` (UTF-8, names in the first row) or ``.parquet`` file.
        target: name of the column that is predicted.
        split: ``random`` (drawn by ``split_seed``) or ``last`` (for rows in time order); validation
            rows are held out of the training rows in the same way.
        test_fraction: share of all rows; validation_fraction: share of the rest, 0 for none.
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
        target: Text,
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
        self.missing = [*MISSING, *(missing or [])]
        self.separator = "\t" if separator == r"\t" else separator  # a shell passes on both
        self.decimal: Decimal = decimal
        self.notes: list[str] = []

    def load_table(self) -> tuple[pl.DataFrame, str]:
        table = self._read()
        if len(table) == 0:
            raise DataError(f"{self.path}: has no rows")
        if self.target not in table.columns:
            raise DataError(
                f"data.target: {self.path.name} has no column '{self.target}'"
                f"{suggestion(self.target, table.columns)}"
                f"{other_separator(self.separator.join(table.columns), self.separator)}"
            )
        excluded = require_columns(table, self.exclude, self.target, "data.exclude")
        self.table = table.drop(excluded)
        self._refuse_words_among_numbers([self.target], 0)
        return self.table, str(self.path)

    def _read(self) -> pl.DataFrame:
        """The file as a table; nothing in it is executed or unpickled."""
        kind = self.path.suffix.lower()
        if kind not in (".csv", ".parquet"):
            raise DataError(
                f"data.path: '{self.path.name}' is neither a .csv nor a .parquet file by its name"
            )
        if len(self.separator.encode()) != 1:
            raise DataError(f"data.separator: '{self.separator}' is not a single ASCII character")
        try:
            # read here: polars would take stars in a path for a pattern, and fetch a URL
            content = self.path.read_bytes()
            if kind == ".parquet":
                return pl.read_parquet(io.BytesIO(content))
            text = content.decode("utf-8-sig")
            if "\n" not in text:  # Excel's CSV for the Macintosh
                text = text.replace("\r", "\n")
            return parse_csv(text, self.separator, self.missing, self.decimal)
        except FileNotFoundError as error:
            raise DataError(f"data.path: no file {self.path}") from error
        except UnicodeDecodeError as error:
            raise DataError(
                f"{self.path}: is not UTF-8 (byte {error.start:,}); save it with that encoding"
            ) from error
        except NoDataError as error:
            raise DataError(f"{self.path}: is empty") from error
        except DataError as error:
            raise DataError(f"{self.path}: {error}") from error
        except (OSError, PolarsError, PanicException) as error:  # the last for damaged Parquet
            told = error.strerror if isinstance(error, OSError) else first_line(error)
            raise DataError(f"{self.path}: cannot be read: {told}") from error

    def split_rows(self, table: pl.DataFrame) -> dict[str, Indices]:
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
        rest = [n for n in train.columns if n not in (self.target, *categorical, *continuous)]
        self._refuse_words_among_numbers(rest, self.max_categories)
        by_values = {name: self._is_categorical(train[name]) for name in rest}
        if self.continuous is None:
            continuous = [name for name in rest if not by_values[name]]
        if self.categorical is None:
            categorical = [name for name in rest if by_values[name]]
        for name in rest:
            if name in (*categorical, *continuous) and train[name].dtype.is_numeric():
                self._look_for_an_index(train[name], continuous)
                if self.table[name].equals(self.table[self.target]):
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
            if fault := word_among_numbers(column, max_categories, self.decimal):
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
        return f"{self.path.name}, target {self.target}, split {self.split}"


def _leave_out(name: str) -> str:
    return f"leave it out with data.exclude=[{name}]"
