"""A CSV or Parquet file as a table; nothing in it is executed or unpickled."""

import io
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from polars.exceptions import NoDataError, PanicException, PolarsError

from ablab.data.tables.csv_table import Decimal, parse_csv, with_types
from ablab.errors import DataError, first_line


@dataclass(frozen=True)
class FileFormat:
    """The format of a CSV file.

    Attributes:
        separator: between the values.
        missing: words that stand for a missing value.
        decimal: whether the file has 1.5 or 1,5.
    """

    separator: str
    missing: list[str]
    decimal: Decimal

    def read(self, path: Path, schema: pl.Schema | None = None) -> pl.DataFrame:
        """Return the file's rows, in columns of the types of ``schema``, or of their values' types.

        Raises:
            DataError: there is no such file, or it is no table that can be read.
        """
        kind = path.suffix.lower()
        if kind not in (".csv", ".parquet"):
            raise DataError(
                f"data.path: '{path.name}' is neither a .csv nor a .parquet file by its name"
            )
        if len(self.separator.encode()) != 1:
            raise DataError(f"data.separator: '{self.separator}' is not a single ASCII character")
        try:
            # Read here, since polars would take stars in a path for a pattern, and fetch a URL.
            content = path.read_bytes()
            if kind == ".parquet":
                table = pl.read_parquet(io.BytesIO(content))
                return table if schema is None else with_types(table, schema)
            text = content.decode("utf-8-sig")
            if "\n" not in text:  # Excel's CSV for the Macintosh
                text = text.replace("\r", "\n")
            return parse_csv(text, self.separator, self.missing, self.decimal, schema)
        except FileNotFoundError as error:
            raise DataError(f"data.path: no file {path}") from error
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path}: is not UTF-8 (byte {error.start:,}); save it with that encoding"
            ) from error
        except NoDataError as error:
            raise DataError(f"{path}: is empty") from error
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
        except (OSError, PolarsError, PanicException) as error:  # the last for damaged Parquet
            told = error.strerror if isinstance(error, OSError) else first_line(error)
            raise DataError(f"{path}: cannot be read: {told}") from error
