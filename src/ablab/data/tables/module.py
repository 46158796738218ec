"""Tables of mixed columns: parts, baselines, and batches of categories, numbers and a target."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from ablab.config.suggestions import suggestion
from ablab.data.module import TensorDataModule
from ablab.data.splits import Indices
from ablab.data.tables.column_encoder import ColumnEncoder
from ablab.errors import DataError

Floats = NDArray[np.floating[Any]]


class TableDataModule(TensorDataModule):
    """Batches are ``(categories int64, continuous float32, target float32)``.

    Shapes (B, n_categorical), (B, n_continuous), (B,). A subclass gives the table, the split and
    which columns are what; the encoding is fitted on the training rows alone (``ColumnEncoder``).
    """

    target: str

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
        targets = target_values(self.table, self.target)
        self.rows = self.split_rows(self.table)
        if len(self.rows["train"]) == 0 or len(self.rows["test"]) == 0:
            raise DataError(f"{type(self).__name__}: the split leaves no training or no test rows")
        if np.ptp(targets[self.rows["train"]]) == 0:
            raise DataError(
                f"column '{self.target}': is the same in all {len(self.rows['train']):,} training "
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

    @property
    def sizes(self) -> dict[str, Any]:
        """The unknown category of each column included."""
        encoder = self.encoder
        return {"n_categories": encoder.n_categories, "n_continuous": len(encoder.continuous)}

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
        return {"mean": self.group_mean([])}

    def group_mean(self, keys: list[str]) -> dict[str, float]:
        """Test errors of the mean target of the training rows that agree in ``keys``.

        Groups that no training row is in get the mean of all.
        """
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
            f"column '{name}': the target is to be a number, but is of type {column.dtype}; "
            f"choose another with data.target=…, or write it in numbers"
        )
    values = column.cast(pl.Float32).to_numpy()  # null becomes nan
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise DataError(
            f"column '{name}': the target of row {bad[0] + 1} is {values[bad[0]]}; {len(bad)} of "
            f"{len(values)} are missing or not finite; remove or mend these rows"
        )
    return values.copy()


def require_columns(table: pl.DataFrame, names: list[str], target: str, where: str) -> list[str]:
    """``names``; raises DataError, which names the config key ``where``, if one cannot be input."""
    for name in names:
        if name == target:
            raise DataError(f"{where}: '{name}' is the target, and cannot be an input as well")
        if name not in table.columns:
            others = [column for column in table.columns if column != target]
            raise DataError(f"{where}: no column '{name}'{suggestion(name, others)}")
    return names
