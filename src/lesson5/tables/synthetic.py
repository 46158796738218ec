"""A drawn table, of any size: its target is a known function of its columns. No download."""

import numpy as np
import polars as pl

from ablab.config.schema import Count, Fraction, Seed
from ablab.data.splits import Indices, split_rows
from ablab.data.tables.module import TableDataModule


class SyntheticTable(TableDataModule):
    """log(1 + count) = level of ``hour`` x ``holiday`` + effect of ``place`` + warmth + noise.

    ``warmth`` is missing in a tenth of the rows, ``place`` in a few. The level of an hour on a
    holiday is drawn independently of its level on other days, so that no sum of effects gives it.

    Args:
        n_rows: number of rows.
        test_fraction: share of all rows.
        validation_fraction: share of the other rows; 0 for none.
        data_seed: draws the rows.
    """

    target = "count"

    def __init__(
        self,
        n_rows: Count,
        test_fraction: Fraction,
        validation_fraction: Fraction,
        data_seed: Seed = 0,
    ) -> None:
        super().__init__()
        self.n_rows = n_rows
        self.test_fraction, self.validation_fraction = test_fraction, validation_fraction
        self.data_seed = data_seed

    def load_table(self) -> tuple[pl.DataFrame, str]:
        random = np.random.default_rng(self.data_seed)
        hour, holiday, place = (random.integers(n, size=self.n_rows) for n in (24, 2, 5))
        warmth = random.normal(20, 5, self.n_rows)
        level, effect = random.normal(3, 1, (24, 2)), random.normal(0, 0.5, 5)
        log = level[hour, holiday] + effect[place] + 0.05 * (warmth - 20)
        log += random.normal(0, 0.1, self.n_rows)
        table = pl.DataFrame(
            {
                "hour": hour,
                "holiday": holiday.astype(bool),
                "place": np.array(["north", "south", "east", "west", "centre"])[place],
                "warmth": warmth,
                "count": np.expm1(np.maximum(log, 0)),
            }
        )
        no_warmth, no_place = random.random((2, self.n_rows)) < [[0.1], [0.02]]
        table = table.with_columns(
            pl.when(~pl.lit(no_warmth)).then("warmth").alias("warmth"),
            pl.when(~pl.lit(no_place)).then("place").alias("place"),
        )
        return table, f"data_seed {self.data_seed}"

    def split_rows(self, table: pl.DataFrame) -> dict[str, Indices]:
        return split_rows(
            len(table),
            test_fraction=self.test_fraction,
            validation_fraction=self.validation_fraction,
            seed=self.split_seed,
        )

    def column_kinds(self, train: pl.DataFrame) -> tuple[list[str], list[str]]:
        return ["hour", "holiday", "place"], ["warmth"]

    def title(self) -> str:
        return f"{self.n_rows:,} synthetic rows"
