"""Data that lie elsewhere than when a run began."""

from pathlib import Path
from typing import Any

import pytest

from ablab.errors import ConfigError
from ablab.runs.identity import config_hash, identity
from ablab.runs.record import RunRecord
from tests.checks import checked
from tests.launch import TINY, launch

STORED = [
    *("data=samples", "model=net", "objective=classification"),
    *(f"data.{part}._target_=toy.samples.StoredPoints" for part in ("train", "val", "test")),
    *(f"data.{part}.root=${{paths.data}}/points/{part}" for part in ("train", "val", "test")),
    *("~data.train.n_rows", "~data.val.n_rows", "~data.val.data_seed"),
    *("~data.test.n_rows", "~data.test.data_seed"),
]


def write_points(folder: Path) -> Path:
    for part, rows in {"train": 30, "val": 12, "test": 12}.items():
        (folder / "points" / part).mkdir(parents=True)
        (folder / "points" / part / "rows.txt").write_text(str(rows))
    return folder


def test_a_run_is_the_same_and_is_tested_where_its_data_have_been_moved_to(tmp_path: Path) -> None:
    before, run = write_points(tmp_path / "before"), tmp_path / "run"
    launch([*TINY, *STORED, f"paths.data={before}"], run)
    now = before.rename(tmp_path / "now")
    with pytest.raises(Exception, match="No such file"):
        launch(["task=test", f"run={run}"], run)
    launch(["task=test", f"run={run}", f"paths.data={now}"], run)
    roots = [f"data.{part}.root={now}/points/{part}" for part in ("train", "val", "test")]
    launch(["task=predict", f"run={run}", *roots], run)
    assert (run / "predictions.csv").is_file()
    with pytest.raises(ConfigError, match=r"leave out data\.train\.data_seed=1"):
        launch(["task=test", f"run={run}", f"paths.data={now}", "data.train.data_seed=1"], run)
    elsewhere = checked([*TINY, *STORED, f"paths.data={now}"]).model_dump(mode="json")
    assert config_hash(elsewhere) == RunRecord.read(run).config_hash


def what_counts(data: dict[str, Any]) -> Any:
    return identity({"paths": {"data": "/mine/data"}, "data": data})["data"]


@pytest.mark.parametrize(
    ("given", "counted"),
    [
        ({"root": "/mine/data"}, {}),
        ({"path": "/mine/data/a/t.csv"}, {"path": "t.csv"}),
        ({"path": "/else/a/t.csv"}, {"path": "t.csv"}),
        ({"train": {"root": "/mine/data/a/train"}}, {"train": {"root": "a/train"}}),
        ({"train": {"root": "/mine/data"}}, {"train": {"root": "."}}),
        ({"train": {"root": "/else/a/train"}}, {"train": {"root": "a/train"}}),
        ({"path": ["/mine/data/a", "/mine/data/b"]}, {"path": ["a", "b"]}),
        (
            {"train": {"datasets": [{"_target_": "mine.A", "root": "/mine/data/a"}]}},
            {"train": {"datasets": [{"_target_": "mine.A", "root": "a"}]}},
        ),
        ({"columns": {"path": "category", "kind": "/x"}},) * 2,
        ({"train": {"root": 3, "cache": True}},) * 2,
    ],
)
def test_the_part_of_a_place_that_counts(given: dict[str, Any], counted: dict[str, Any]) -> None:
    assert what_counts(given) == counted
