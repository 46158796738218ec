"""The search of similar pictures, timed: what is compared, not how long it took."""

from pathlib import Path

import pytest
import torch
from benchmarks.image_similarity import main, search_seconds

from tests.launch import TINY, launch


def test_every_search_is_timed_in_every_round() -> None:
    torch.manual_seed(0)
    seconds = search_seconds(torch.randn(20, 6), torch.randn(5, 6), [2, 4], rounds=3)
    assert {n: len(times) for n, times in seconds.items()} == {0: 3, 2: 3, 4: 3}
    assert all(time > 0 for times in seconds.values() for time in times)


def test_a_row_for_each_number_of_components(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digits = ["experiment=mnist_nn", "data=synthetic_digits", "trainer.max_epochs=1"]
    launch([*digits, "interpret=none", "logger=csv"], tmp_path)
    capsys.readouterr()
    assert main([str(tmp_path), "--components", "3", "50", "--rounds", "1"]) == 0
    told = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in told.splitlines()]
    assert [row[0] for row in rows if row] == ["3", "50", "50"]
    assert [row[2] for row in rows if row][1:] == ["1.000", "1.000"]
    assert main([str(tmp_path), "--layer", "lin9"]) == 2
    assert "did you mean 'lin" in capsys.readouterr().err


def test_a_run_without_pictures_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    launch([*TINY, "trainer.max_epochs=1"], tmp_path)
    assert main([str(tmp_path)]) == 2
    assert "its data are no pictures: SyntheticRatings" in capsys.readouterr().err
