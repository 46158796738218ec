"""The growth of the ratings: what must be moved, and a measured case of the smallest size."""

import csv
import json
from pathlib import Path

import pytest
import torch
from benchmarks.scale import Measured, Way, bytes_an_epoch, copy_bandwidth

from benchmarks import scale


def test_bytes_are_those_of_the_rows_and_of_adam() -> None:
    # two rows of 41 numbers read and written, and the rating's 12 bytes: 668; four accumulators
    # read and written: 32
    assert bytes_an_epoch(Way("sparse", True, 64), 1000, 10**6) == 1000 * (668 + 32)
    # 16 steps of 64, each of 28 bytes a parameter
    assert bytes_an_epoch(Way("dense", False, 64), 1000, 10**6) == 1000 * 668 + 16 * 28 * 10**6


def test_a_copy_has_a_bandwidth() -> None:
    assert 1e8 < copy_bandwidth(megabytes=8, times=2) < 1e13


def test_the_table_has_a_row_for_each_size_and_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = iter([9.0, 1.0, 2.0, 3.0, 3.0, 4.0, 5.0, 2.0, 3.0, 4.0])  # 1 to draw, 3 rounds of 3

    def measure(millions: float, way: Way, root: Path) -> Measured:
        return Measured(next(seconds), 5_000_000, 90_000, 100_000)

    monkeypatch.setattr(scale, "measure", measure)
    monkeypatch.setattr(scale, "copy_bandwidth", lambda: 1e10)
    out = ["--out", str(tmp_path), "--data", str(tmp_path)]
    assert scale.main(["--sizes", "0.1", "--rounds", "3", *out]) == 0
    with (tmp_path / "scale.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["seconds"]) for row in rows] == [2.0, 3.0, 4.0]
    assert [float(row["ratings_per_second"]) for row in rows] == [45_000, 30_000, 22_500]
    assert [row["way_sparse"] for row in rows] == ["False", "True", "False"]
    text = (tmp_path / "scale.md").read_text()
    assert "| 0.1 | sparse AdaGrad | 512 | 3 | 2–4 | 30,000 | 5 |" in text
    assert "sparse AdaGrad" in capsys.readouterr().out


def test_other_sizes_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        scale.main(["--sizes", "3"])
    assert "--sizes: are of" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore")  # as in the process that it has otherwise
def test_a_case_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)  # those of other tests stay
    way = {"name": "sparse", "sparse": True, "batch_size": 4096, "steps": 3}
    case = {"millions": 0.1, "root": str(tmp_path), "way": way}
    assert scale.main(["--case", json.dumps(case)]) == 0
    measured = Measured(**json.loads(capsys.readouterr().out.splitlines()[-1]))
    assert measured.rows == 90_000
    assert measured.seconds > 0
    assert measured.parameters > 943 * 41
