"""A table of your own, from a CSV or Parquet file."""

import io
from pathlib import Path
from typing import Literal

import polars as pl
from polars.exceptions import NoDataError, PanicException, PolarsError

from lab.config.check import first_line
from lab.config.schema import Count, Fraction, Seed, Text
from lab.config.suggestions import suggestion
from lab.data.ratings import Indices
from lab.data.tabular import TableDataModule, require_columns, split_rows
from lab.errors import DataError


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
        missing: what stands for a missing value in a CSV file.
        separator: between the values of a CSV file.
    """

    def __init__(
        self,
        path: Text,
        target: Text,
        split: Literal["random", "last"],
        test_fraction: Fraction,
        validation_fraction: Fraction,
        batch_size: Count,
        eval_batch_size: Count,
        split_seed: Seed,
        order_seed: Seed,
        categorical: list[Text] | None = None,
        continuous: list[Text] | None = None,
        exclude: list[Text] | None = None,
        max_categories: Count = 30,
        missing: list[Text] | None = None,
        separator: Text = ",",
    ) -> None:
        super().__init__(
            batch_size=batch_size, eval_batch_size=eval_batch_size, order_seed=order_seed
        )
        self.path = Path(path)
        self.target = target
        self.split = split
        self.test_fraction = test_fraction
        self.validation_fraction = validation_fraction
        self.split_seed = split_seed
        self.categorical, self.continuous = categorical, continuous
        self.exclude = exclude or []
        self.max_categories = max_categories
        self.missing = ["", "NA", "NaN", "nan"] if missing is None else missing
        self.separator = separator

    def load_table(self) -> tuple[pl.DataFrame, str]:
        table = self._read()
        if len(table) == 0:
            raise DataError(f"{self.path}: has no rows")
        if self.target not in table.columns:
            raise DataError(
                f"data.target: {self.path.name} has no column '{self.target}'"
                f"{suggestion(self.target, table.columns)}"
            )
        excluded = require_columns(table, self.exclude, self.target, "data.exclude")
        return table.drop(excluded), str(self.path)

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
            content.decode("utf-8")
            return pl.read_csv(
                content,
                separator=self.separator,
                null_values=self.missing,
                infer_schema_length=None,  # all rows: a late word is no surprise
            )
        except FileNotFoundError as error:
            raise DataError(f"data.path: no file {self.path}") from error
        except UnicodeDecodeError as error:
            raise DataError(
                f"{self.path}: is not UTF-8 (byte {error.start:,}); save it with that encoding"
            ) from error
        except NoDataError as error:
            raise DataError(f"{self.path}: is empty") from error
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
        rest = [n for n in train.columns if n not in (self.target, *categorical, *continuous)]
        by_values = {name: self._is_categorical(train[name]) for name in rest}
        if self.categorical is None:
            categorical = [name for name in rest if by_values[name]]
        if self.continuous is None:
            continuous = [name for name in rest if not by_values[name]]
        return categorical, continuous

    def _is_categorical(self, values: pl.Series) -> bool:
        if values.dtype.is_integer():
            return values.n_unique() <= self.max_categories
        if values.dtype == pl.String and len(values) > 1 and values.n_unique() == len(values):
            raise DataError(
                f"column '{values.name}': is different in every training row, as a name or a date "
                f"is; leave it out with data.exclude=[{values.name}]"
            )
        return not values.dtype.is_numeric()

    def title(self) -> str:
        return f"{self.path.name}, target {self.target}, split {self.split}"
