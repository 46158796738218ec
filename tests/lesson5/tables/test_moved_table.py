"""A run is tested again with its data in another place."""

from pathlib import Path

import pytest

from ablab.errors import ConfigError, DataError, RunFolderError
from tests.launch import launch


def test_moved_data_may_be_named_and_are_compared(tmp_path: Path) -> None:
    rows = "".join(f"{n % 7},{n * 0.5},{n % 5}.5\n" for n in range(80))
    (tmp_path / "a.csv").write_text(f"rooms,area,rent\n{rows}")
    table = ["data=table", f"data.path={tmp_path / 'a.csv'}", "data.target=rent"]
    model = ["model=entity_embedding", "logger=csv", "threads=1", "trainer.max_epochs=1"]
    run = tmp_path / "run"
    launch([*table, *model, "trainer.accelerator=cpu"], run)
    moved = (tmp_path / "a.csv").rename(tmp_path / "moved.csv")
    for task in ("test", "predict"):
        with pytest.raises(DataError, match=r"a\.csv"):
            launch([f"task={task}", f"run={run}"], run)
        launch([f"task={task}", f"run={run}", f"data.path={moved}"], run)
    assert len((run / "predictions.csv").read_text().splitlines()) > 1
    with pytest.raises(ConfigError, match=r"leave out data\.target=area"):
        launch(["task=test", f"run={run}", f"data.path={moved}", "data.target=area"], run)
    moved.write_text(moved.read_text().replace("0.5", "0.7", 1))
    with pytest.raises(RunFolderError, match="these differ"):
        launch(["task=test", f"run={run}", f"data.path={moved}"], run)
