"""Bikeshare: its columns on either split, and its baselines on the real table."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from ablab.errors import DataError
from lesson5.tables import bikeshare
from lesson5.tables.bikeshare import MONTHS, Bikeshare
from lesson5.tables.bikeshare_source import load_bikeshare
from tests.launch import ROOT

CATEGORICAL = ["season", "mnth", "day", "hr", "holiday", "weekday", "workingday", "weathersit"]


def hours(n_days: int = 60) -> pl.DataFrame:
    """A stand-in for the real table: other riders, the same columns, ``n_days`` over the year."""
    random = np.random.default_rng(0)
    day = np.repeat(np.linspace(1, 365, n_days).astype(int), 24)
    hr = np.tile(np.arange(24), n_days)
    casual, registered = random.integers(0, 90, len(day)), random.integers(1, 300, len(day))
    weather = {name: random.random(len(day)) for name in ("temp", "atemp", "hum", "windspeed")}
    return pl.DataFrame(
        {
            "season": day // 92 + 1,
            "mnth": [MONTHS[min((d - 1) // 31, 11)] for d in day],
            "day": day,
            "hr": hr,
            "holiday": random.integers(0, 2, len(day)),
            "weekday": day % 7,
            "workingday": (day % 7 < 5).astype(int),
            "weathersit": np.array(["clear", "rain"])[random.integers(0, 2, len(day))],
            **weather,
            "casual": casual,
            "registered": registered,
            "bikers": casual + registered,
        }
    )


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bikeshare, "load_bikeshare", lambda root: (hours(), "a stand-in"))


def bikes(split: str, calendar: str = "by_split", **changes: Any) -> Bikeshare:
    arguments = {"root": str(ROOT / "data"), "split": split, "validation_fraction": 0.1}
    arguments |= {"categorical": CATEGORICAL, "continuous": ["temp", "atemp", "hum", "windspeed"]}
    arguments |= {"binned": [], "calendar": calendar}
    data = Bikeshare(**{**arguments, **changes})
    data.setup("fit")
    return data


@pytest.mark.usefixtures("offline")
def test_the_parts_of_the_target_are_no_input() -> None:
    data = bikes("shuffled")
    assert not {"casual", "registered"} & set(data.test_table())
    assert {*data.encoder.categorical_names, *data.encoder.continuous} == {
        *CATEGORICAL,
        *("temp", "atemp", "hum", "windspeed"),
    }
    with pytest.raises(DataError, match="no column 'registered'"):
        bikes("shuffled", continuous=["registered"])


@pytest.mark.usefixtures("offline")
def test_what_becomes_of_the_calendar_on_the_last_tenth() -> None:
    dropped = bikes("last_tenth").encoder.categorical_names
    assert dropped == [name for name in CATEGORICAL if name not in ("mnth", "day")]
    kept = bikes("last_tenth", "keep")
    assert kept.encoder.categorical_names == CATEGORICAL
    assert (kept.parts["test"][0][:, 2] == 0).all()  # no such day in training
    assert bikes("shuffled", "drop").encoder.categorical_names == dropped
    months = bikes("shuffled").encoder.vocabularies["mnth"].to_list()
    assert months == [month for month in MONTHS if month in months]


@pytest.mark.usefixtures("offline")
def test_weather_in_tenths() -> None:
    columns = [name for name in CATEGORICAL if name not in ("mnth", "day")]
    data = bikes("shuffled", categorical=[*columns, "temp"], continuous=["hum"], binned=["temp"])
    assert data.encoder.vocabularies["temp"].to_list() == list(range(10))
    assert data.table["hum"].dtype == pl.Float64


@pytest.mark.slow
def test_the_real_bikeshare_and_its_baselines() -> None:
    shuffled, last = (bikes(split, validation_fraction=0.0) for split in ("shuffled", "last_tenth"))
    assert len(last.table) == 8645
    assert len(last.rows["test"]) == len(shuffled.rows["test"]) == 864
    assert last.table["bikers"].sum() == 1_243_103
    table, _ = load_bikeshare(ROOT / "data")
    assert (table["casual"] + table["registered"] == table["bikers"]).all()
    baselines = last.baselines()  # beside an implementation that shares no code with this one
    assert baselines["mean"]["rmse"] == pytest.approx(112.5, abs=0.05)
    assert baselines["mean by hr x workingday"]["mae"] == pytest.approx(41.8, abs=0.2)
    assert baselines["mean by mnth x hr x workingday"]["rmse"] == pytest.approx(103.7, abs=0.3)
