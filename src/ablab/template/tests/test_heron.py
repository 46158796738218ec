"""Every experiment trains: a few steps of each, on this machine, in a temporary folder."""

from pathlib import Path

import pytest

from ablab.testing import try_run


@pytest.mark.parametrize("overrides", [[], ["experiment=wide"]])
def test_an_experiment_trains(overrides: list[str], tmp_path: Path) -> None:
    record = try_run([*overrides, "data.n_rows=200", "trainer.max_epochs=1"], tmp_path)
    assert record.metrics["test"]["loss"] < 10
