"""CSV files as spreadsheets, pandas and people write them, read into typed columns."""

import re
from collections import Counter
from typing import Literal

import polars as pl
from polars.exceptions import ComputeError, PolarsError

from ablab.errors import DataError

Decimal = Literal["point", "comma"]

MISSING = ["", "?", "NA", "<NA>", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null", "None"]
_BOOLEANS = {"true": True, "false": False}
# What a reader takes for a number: 12, 1.5, 1,5, 1.234,5, 2e-3, 12 %, €12, but no date.
_LIKE_A_NUMBER = (
    r"^[€$£]? ?[-+]?(\d+|\d*[.,]\d+|\d{1,3}([.,' ]\d{3})+([.,]\d+)?)([eE][-+]?\d+)? ?[%€$£]?$"
)


def parse_csv(
    text: str,
    separator: str,
    missing: list[str],
    decimal: Decimal,
    schema: pl.Schema | None = None,
) -> pl.DataFrame:
    """Return the table with columns of whole numbers, floats, booleans or words.

    A column is numeric if all its values are, but for those that stand for a missing one. Blanks
    around a value do not count. A first line ``sep=;``, which Excel writes, names the separator.
    Columns of ``schema`` get the type that they have there.

    Raises:
        DataError: the names are not unique, a row has more values than there are names, or a value
            is not of the type that its column has in ``schema``.
        PolarsError: the text is no CSV file.
    """
    first_line, _, rest = text.partition("\n")
    if named := re.fullmatch('"?sep=(.)"?\r?', first_line):
        separator, text = named[1], rest
    try:
        # polars would rename a name that stands there twice, so the names are read as a row.
        rows = pl.read_csv(text.encode(), separator=separator, has_header=False, infer_schema=False)
    except ComputeError as error:
        if "more fields" not in str(error):
            raise
        hint = other_separator(text.partition("\n")[0], separator)
        raise DataError(f"a row has more values than the first row has names{hint}") from error
    rows = rows.select(pl.all().str.strip_chars())
    columns = {}
    for number, column in enumerate(rows, start=1):
        name, values = column[0], column[1:]
        values = values.set(values.is_in(missing), None)
        if not name and values.null_count() == len(values):
            continue  # each line ends with a separator
        name = name or f"column_{number}"
        if name in columns:
            raise DataError(f"two columns are called '{name}'; rename or remove one of them")
        wanted = None if schema is None else schema.get(name)
        if wanted is None:
            columns[name] = _typed(values, decimal)
        elif wanted.is_numeric():
            columns[name] = _numbers_only(values, _numbers(values, decimal), name)
        elif wanted == pl.Boolean:
            read = values.str.to_lowercase().replace_strict(_BOOLEANS, default=None)
            columns[name] = _numbers_only(values, read.cast(pl.Boolean), name)
        else:
            columns[name] = values
    return with_types(pl.DataFrame(columns), schema or pl.Schema())


def with_types(table: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    """Return the table with columns of the types that those of the same name have in ``schema``.

    Raises:
        DataError: a column cannot have that type.
    """
    columns = []
    for column in table:
        wanted = schema.get(column.name, column.dtype)
        if column.dtype.is_float() and wanted.is_integer():  # 2.5 is a number, but no category
            wanted = wanted if (column.drop_nulls() % 1 == 0).all() else column.dtype
        try:
            columns.append(column.cast(wanted))
        except PolarsError as error:
            raise DataError(
                f"column '{column.name}': of type {column.dtype}, which was {wanted} in training"
            ) from error
    return pl.DataFrame(columns)


def _numbers_only(values: pl.Series, read: pl.Series, name: str) -> pl.Series:
    """Return ``read``. Raise DataError if a value was lost in it."""
    lost = (read.is_null() & values.is_not_null()).arg_true()
    if len(lost):
        kind = "true or false" if read.dtype == pl.Boolean else "a number"
        raise DataError(
            f"column '{name}': row {lost[0] + 1} has '{values[lost[0]]}', which is not {kind}, as "
            f"in the rows that the model has learned from"
        )
    return read.alias(name)


def other_separator(first_line: str, separator: str) -> str:
    """Return a hint if ``first_line`` seems to have another separator, else nothing."""
    found = Counter(character for character in first_line if character in ";\t|,")
    if separator in first_line or not found:
        return ""
    likely = found.most_common(1)[0][0].replace("\t", r"\t")
    return f"; its first row has '{likely}', so try 'data.separator=\"{likely}\"'"


def word_among_numbers(values: pl.Series, max_categories: int, decimal: Decimal) -> str | None:
    """Return what is wrong if ``values`` are words only because a few of them are no numbers.

    Whole numbers of at most ``max_categories`` values are categories anyway, so words among them
    do no harm.
    """
    if values.dtype != pl.String:
        return None
    known = values.drop_nulls()
    like_numbers = known.filter(known.str.contains(_LIKE_A_NUMBER))
    if 2 * len(like_numbers) < len(known) or len(known) == 0:
        return None
    if known.n_unique() <= max_categories and like_numbers.str.contains(r"^[-+]?\d+$").all():
        return None
    row = (_numbers(values, decimal).is_null() & values.is_not_null()).arg_true()[0]
    cell = values[row]
    if re.fullmatch(r"[-+]?[\d.,]*\d[\d.,]*", cell):
        other = "comma" if decimal == "point" else "point"
        hint = (
            f"if it has a decimal {other}, set data.decimal={other}; "
            f"if it has separators of thousands, remove them from the file"
        )
    elif re.fullmatch(_LIKE_A_NUMBER, cell):
        hint = "write the number alone"
    else:
        hint = (
            f"if it stands for a missing value, set data.missing=['{cell}']; else correct the file"
        )
    return (
        f"column '{values.name}': most values look like numbers, but row {row + 1} has '{cell}'; "
        f"{hint}"
    )


def _typed(values: pl.Series, decimal: Decimal) -> pl.Series:
    """``values`` as the first type that all of them have."""
    known = values.drop_nulls()
    if len(known) == 0:
        return values
    lower = values.str.to_lowercase()
    if known.str.to_lowercase().is_in(["true", "false"]).all():
        return lower == "true"
    numbers = _numbers(values, decimal)
    if numbers.null_count() > values.null_count():
        return values
    if known.str.contains(r"^[-+]?\d+$").all():
        whole = values.cast(pl.Int64, strict=False)
        if whole.null_count() == values.null_count():  # none has too many digits
            return whole
    return numbers


def _numbers(values: pl.Series, decimal: Decimal) -> pl.Series:
    """``values`` as floats, null where one is no number."""
    if decimal == "comma":
        with_point = values.str.contains(".", literal=True)
        values = values.set(with_point, None).str.replace(",", ".", literal=True)
    return values.cast(pl.Float64, strict=False)
