"""Capital Bikeshare 2011: riders of each hour by calendar and weather, in two splits."""

from pathlib import Path
from typing import Literal

import polars as pl

from ablab.config.schema import Fraction, Text
from ablab.data.splits import Indices, split_rows
from ablab.data.tables.module import TableDataModule, require_columns
from lesson5.tables.bikeshare_source import BIKESHARE, load_bikeshare

MONTHS = ["Jan", "Feb", "March", "April", "May", "June"]
MONTHS += ["July", "Aug", "Sept", "Oct", "Nov", "Dec"]
PARTS_OF_TARGET = ["casual", "registered"]  # their sum is the target, so they are no inputs
WEATHER = ["temp", "atemp", "hum", "windspeed"]
TEST_FRACTION = 0.1
WEEKDAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]
# What pictures call the columns and categories that the file abbreviates.
TITLES = {
    "mnth": "month",
    "day": "day of the year",
    "hr": "hour",
    "workingday": "working day",
    "weathersit": "weather",
    "temp": "temperature",
    "atemp": "felt temperature",
    "hum": "humidity",
    "windspeed": "wind",
}
CATEGORY_TITLES = {
    "season": dict(zip("1234", ["winter", "spring", "summer", "autumn"], strict=True)),
    "weekday": dict(zip("0123456", WEEKDAYS, strict=True)),
}


class Bikeshare(TableDataModule):
    """Riders (``bikers``) of the 8,645 hours of 2011, of which 864 are for the test.

    Args:
        root: folder of all data, where the verified copy is kept; a local ``Bikeshare.csv`` may lie
            there.
        split: ``shuffled`` (drawn by ``split_seed``: test hours lie between training hours) or
            ``last_tenth`` (26 November to 31 December: the model has to generalise in time). The
            validation rows are drawn too, or are the last training rows.
        validation_fraction: share of the training rows; 0 for none.
        categorical, continuous: names of the columns that are fed to the model.
        binned: columns of the weather, from 0 to 1, that become tenths and so may be categorical.
        calendar: whether to ``keep`` or ``drop`` ``mnth`` and ``day`` (of the year), whose values
            in the ``last_tenth`` are unseen in training (category 0). ``by_split`` keeps them when
            shuffled and drops them on ``last_tenth``.
    """

    target = "bikers"
    titles, category_titles = TITLES, CATEGORY_TITLES

    def __init__(
        self,
        root: Text,
        split: Literal["shuffled", "last_tenth"],
        validation_fraction: Fraction,
        categorical: list[Text],
        continuous: list[Text],
        binned: list[Text],
        calendar: Literal["keep", "drop", "by_split"],
    ) -> None:
        super().__init__()
        self.root = Path(root)
        self.split = split
        self.validation_fraction = validation_fraction
        self.categorical, self.continuous = categorical, continuous
        self.binned = binned
        self.dropped = (
            {"mnth", "day"}
            if calendar == "drop" or (calendar == "by_split" and split == "last_tenth")
            else set()
        )

    def prepare_data(self) -> None:
        BIKESHARE.fetch(self.root)

    def load_table(self) -> tuple[pl.DataFrame, str]:
        table, source = load_bikeshare(self.root)
        table = table.drop(PARTS_OF_TARGET)
        binned = require_columns(table.select(WEATHER), self.binned, self.target, "data.binned")
        # An enum in the order of the year: by name, April would be the first month.
        table = table.with_columns(pl.col("mnth").cast(pl.Enum(MONTHS)))
        tenths = (pl.col(binned) * 10).floor().clip(0, 9).cast(pl.Int64)
        return table.with_columns(tenths), source

    def split_rows(self, table: pl.DataFrame) -> dict[str, Indices]:
        return split_rows(
            len(table),
            last=self.split == "last_tenth",
            test_fraction=TEST_FRACTION,
            validation_fraction=self.validation_fraction,
            seed=self.split_seed,
        )

    def column_kinds(self, train: pl.DataFrame) -> tuple[list[str], list[str]]:
        categorical = require_columns(train, self.categorical, self.target, "data.categorical")
        continuous = require_columns(train, self.continuous, self.target, "data.continuous")
        return (
            [name for name in categorical if name not in self.dropped],
            [name for name in continuous if name not in self.dropped],
        )

    def baselines(self) -> dict[str, dict[str, float]]:
        groupings = [[], ["hr", "workingday"], ["mnth", "hr", "workingday"]]
        return {
            f"mean by {' x '.join(keys)}" if keys else "mean": self.group_mean(keys)
            for keys in groupings
        }

    def title(self) -> str:
        return f"Bikeshare 2011, split {self.split}"
