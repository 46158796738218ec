"""Two runs side by side: what differs, what only one has, and nothing else."""

import math
from pathlib import Path

import pytest

from ablab.report.__main__ import main
from ablab.report.differences import config_differences, metric_differences
from ablab.runs.record import RunRecord
from tests.ablab.report.plan_folders import write_job


def test_only_what_differs_is_listed(tmp_path: Path) -> None:
    write_job(tmp_path / "a", None, {"optim.lr": 0.01, "model.layers": [1]}, 0, {"rmse": 0.9})
    settings = {"optim.lr": 0.1, "model.bias": True, "data.split": "u1"}
    write_job(tmp_path / "b", None, settings, 0, {"rmse": 0.8, "mae": 0.5, "nan": math.nan})
    a, b = (RunRecord.read(tmp_path / name) for name in "ab")
    assert config_differences(a, b) == [
        ("optim.lr", "0.01", "0.1"),
        ("model.layers", "[1]", "(none)"),
        ("model.bias", "(none)", "true"),
    ]
    names = [name for name, _, _ in metric_differences(a, b)]
    assert names == ["test/rmse", "val/rmse", "test/mae", "test/nan"]
    assert metric_differences(a, b)[0] == ("test/rmse", 0.9, 0.8)
    assert math.isnan(metric_differences(a, b)[2][1])
    assert config_differences(b, b) == metric_differences(b, b) == []


def test_as_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_job(tmp_path / "a", None, {"optim.lr": 0.01}, 0, {"rmse": 0.9})
    write_job(tmp_path / "b", None, {"optim.lr": 0.1}, 0, {"rmse": 0.8, "mae": 0.5})
    assert main(["diff", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["optim.lr", "0.01", "0.1"] in lines
    assert ["test/rmse", "0.9", "0.8", "-0.1"] in lines
    assert ["test/mae", "-", "0.5", "-"] in lines
    assert sum(len(line) > 2 for line in lines) == 6  # and their two headings
    assert main(["diff", str(tmp_path / "a"), str(tmp_path / "a")]) == 0
    told = capsys.readouterr().out
    assert "no settings differ\nno metrics differ\n" in told
    assert main(["diff", str(tmp_path / "a"), str(tmp_path / "c")]) == 2
    assert f"error: {tmp_path / 'c'}: no run is there" in capsys.readouterr().err
