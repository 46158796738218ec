"""Every experiment trains: a few steps of each, on this machine, in a temporary folder."""

from pathlib import Path

import pytest

from ablab.testing import try_run


@pytest.mark.parametrize("experiment", ["null", "wide"])
def test_an_experiment_trains(experiment: str, tmp_path: Path) -> None:
    record = try_run([f"experiment={experiment}", "data.n_rows=200"], tmp_path)
    assert record.metrics["test"]["loss"] < 10
