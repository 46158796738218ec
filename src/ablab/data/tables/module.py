"""Tables of mixed columns: parts, baselines, and batches of categories, numbers and a target."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from ablab.config.suggestions import suggestion
from ablab.data.module import TensorDataModule
from ablab.data.splits import Indices
from ablab.data.tables.column_encoder import ColumnEncoder
from ablab.errors import DataError

Floats = NDArray[np.floating[Any]]
_CHOOSE = "choose another target with data.target=…"


class TableDataModule(TensorDataModule):
    """Batches are ``(categories int64, continuous float32, target)``.

    Shapes (B, n_categorical), (B, n_continuous), and of the target, by the kind that it is:

    - a number: float32 (B,);
    - several numbers: float32 (B, n_targets);
    - a class (words, booleans): int64 (B,), numbered in the order of ``classes``.

    A subclass gives the table, the split and which columns are what; the encoding is fitted on the
    training rows alone (``ColumnEncoder``).
    """

    target: str | list[str]
    classes: list[str] | None = None  # of a target that is a class

    @property
    def targets(self) -> list[str]:
        """The names of the target's columns."""
        return [self.target] if isinstance(self.target, str) else self.target

    def is_class(self, target: pl.Series) -> bool:
        """Return whether the target is a class."""
        return not target.dtype.is_numeric()

    def load_table(self) -> tuple[pl.DataFrame, str]:
        """Inputs and target, a row for each case, and where they came from."""
        raise NotImplementedError

    def split_rows(self, table: pl.DataFrame) -> dict[str, Indices]:
        """Row numbers of "train", "test", and "val" where there is one."""
        raise NotImplementedError

    def column_kinds(self, train: pl.DataFrame) -> tuple[list[str], list[str]]:
        """Names of the categorical and of the continuous columns, by the training rows."""
        raise NotImplementedError

    def setup(self, stage: str) -> None:
        if self.parts:
            return
        self.table, self.source = self.load_table()
        targets = self._target_values()
        self.rows = self.split_rows(self.table)
        if len(self.rows["train"]) == 0 or len(self.rows["test"]) == 0:
            raise DataError(f"{type(self).__name__}: the split leaves no training or no test rows")
        spread = np.ptp(targets[self.rows["train"]], axis=0)
        if not np.all(spread):
            same = self.targets[int(np.argmin(spread))]
            raise DataError(
                f"column '{same}': is the same in all {len(self.rows['train']):,} training "
                f"rows; there is nothing to learn"
            )
        train = self.table[self.rows["train"]]
        categorical, numeric = self.column_kinds(train)
        if not categorical and not numeric:
            raise DataError(f"{type(self).__name__}: there is no column but the target")
        self.encoder = ColumnEncoder.fit(train, categorical, numeric)
        categories, continuous = self.encoder.encode(self.table)
        for part, rows in self.rows.items():
            self.parts[part] = (
                torch.from_numpy(categories[rows]),
                torch.from_numpy(continuous[rows]),
                torch.from_numpy(targets[rows]),
            )

    def _target_values(self) -> NDArray[Any]:
        """Return the target of each row, and find out its classes. Raises DataError."""
        names = self.targets
        if len(names) == 1 and self.is_class(self.table[names[0]]):
            labels, self.classes = class_numbers(self.table, names[0])
            return labels
        columns = [target_values(self.table, name) for name in names]
        return columns[0] if isinstance(self.target, str) else np.stack(columns, axis=1)

    @property
    def sizes(self) -> dict[str, Any]:
        """The unknown category of each column included; what a target of a number needs not."""
        encoder = self.encoder
        sizes = {"n_categories": encoder.n_categories, "n_continuous": len(encoder.continuous)}
        if self.classes is not None:
            return {**sizes, "n_classes": len(self.classes)}
        return sizes if isinstance(self.target, str) else {**sizes, "n_targets": len(self.target)}

    def class_names(self, n_classes: int) -> list[str]:
        return super().class_names(n_classes) if self.classes is None else self.classes

    def prediction_columns(self, predictions: Tensor) -> dict[str, Sequence[Any]]:
        if self.classes is not None or predictions.dim() == 1:
            return super().prediction_columns(predictions)
        columns = predictions.float().unbind(dim=1)
        return {
            f"prediction_{name}": column.tolist()
            for name, column in zip(self.targets, columns, strict=True)
        }

    def summary(self) -> str:
        rows = ", ".join(f"{len(r):,} {part}" for part, r in self.rows.items())
        return (
            f"{self.title()}: {rows} rows; {len(self.encoder.n_categories)} categorical and "
            f"{len(self.encoder.continuous)} continuous columns (from {self.source})"
        )

    def title(self) -> str:
        return type(self).__name__

    def test_table(self) -> dict[str, Sequence[Any]]:
        """The columns as they were read, the target among them."""
        return {column.name: column.to_list() for column in self.table[self.rows["test"]]}

    def baselines(self) -> dict[str, dict[str, float]]:
        train, test = (self.parts[part][-1].numpy() for part in ("train", "test"))
        if self.classes is not None:
            right = test == np.bincount(train).argmax()
            return {"most frequent": {"accuracy": float(np.mean(right))}}
        if not isinstance(self.target, str):
            mean = np.broadcast_to(train.mean(axis=0, dtype=np.float64), test.shape)
            return {"mean": regression_errors(mean, test)}
        return {"mean": self.group_mean([])}

    def group_mean(self, keys: list[str]) -> dict[str, float]:
        """Test errors of the mean target of the training rows that agree in ``keys``.

        It is for a target of one number. Groups that no training row is in get the mean of all.
        """
        assert isinstance(self.target, str)
        train, test = self.table[self.rows["train"]], self.table[self.rows["test"]]
        overall = float(train[self.target].mean())  # type: ignore[arg-type]
        prediction = np.full(len(test), overall)
        if keys:
            means = train.group_by(keys).agg(pl.col(self.target).mean().alias("prediction"))
            joined = test.select(keys).join(means, on=keys, how="left", maintain_order="left")
            prediction = joined["prediction"].fill_null(overall).to_numpy()
        return regression_errors(prediction, test[self.target].to_numpy())


def regression_errors(prediction: Floats, target: Floats) -> dict[str, float]:
    """rmse, mae, and rmsle where all are above -1; prediction and target have shape (rows,)."""
    prediction, target = prediction.astype(np.float64), target.astype(np.float64)
    error = prediction - target
    errors = {"rmse": float(np.sqrt(np.mean(error**2))), "mae": float(np.mean(np.abs(error)))}
    if min(prediction.min(), target.min()) > -1:
        log_error = np.log1p(prediction) - np.log1p(target)
        errors["rmsle"] = float(np.sqrt(np.mean(log_error**2)))
    return errors


def target_values(table: pl.DataFrame, name: str) -> NDArray[np.float32]:
    """The target column, float32, shape (rows,).

    Raises:
        DataError: it is not numeric, or a value is missing, NaN or infinite.
    """
    column = table[name]
    if not column.dtype.is_numeric():
        raise DataError(
            f"column '{name}': this target is to be a number, but is of type {column.dtype}; "
            f"choose another with data.target=…, or write it in numbers"
        )
    values = column.cast(pl.Float32).to_numpy()  # null becomes nan
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise DataError(
            f"column '{name}': the target of row {bad[0] + 1} is {values[bad[0]]}; {len(bad)} of "
            f"{len(values)} are missing or not finite; remove or correct these rows"
        )
    return values.copy()


def class_numbers(table: pl.DataFrame, name: str) -> tuple[NDArray[np.int64], list[str]]:
    """The class of each row, shape (rows,), and the names of the classes in ascending order.

    Raises:
        DataError: a row has none, the column is no class, or has a class of its own in each row.
    """
    column = table[name]
    words = column.dtype in (pl.String, pl.Boolean, pl.Enum, pl.Categorical)
    if not words and not column.dtype.is_integer():
        raise DataError(f"column '{name}': of type {column.dtype}, is no class; {_CHOOSE}")
    if missing := column.null_count():
        row = column.is_null().arg_true()[0] + 1
        raise DataError(
            f"column '{name}': the target of row {row} is missing; {missing} of {len(column)} are; "
            f"remove these rows, or predict them with task=predict data.path=FILE"
        )
    values = column.unique().sort()
    if len(values) == len(column) > 1:
        raise DataError(f"column '{name}': is different in every row, and no class; {_CHOOSE}")
    numbered = values.to_frame().with_row_index("number")
    numbers = table.select(name).join(numbered, on=name, how="left", maintain_order="left")
    names = [str(value).lower() if isinstance(value, bool) else str(value) for value in values]
    return numbers["number"].cast(pl.Int64).to_numpy().copy(), names


def require_columns(
    table: pl.DataFrame, names: list[str], target: str | list[str], where: str
) -> list[str]:
    """``names``; raises DataError, which names the config key ``where``, if one cannot be input."""
    targets = [target] if isinstance(target, str) else target
    for name in names:
        if name in targets:
            raise DataError(f"{where}: '{name}' is the target, and cannot be an input as well")
        if name not in table.columns:
            others = [column for column in table.columns if column not in targets]
            raise DataError(f"{where}: no column '{name}'{suggestion(name, others)}")
    return names
