"""The lesson's movies in rankings that are made up."""

from pathlib import Path

import polars as pl
import pytest

from lesson5.ratings.lesson_movies import BEST, FILE, WORST, main, overlaps
from tests.ablab.report.plan_folders import write_plan


def ranking(*, swapped: int = 0) -> pl.DataFrame:
    """1,000 items in the lesson's order by bias, of which ``swapped`` of the best are in the
    middle; by mean rating the other way round; and one with few ratings above all."""
    middle = [f"Film {k}" for k in range(970)]
    best = [*BEST[swapped:], *middle[:swapped]]
    titles = ["Rare", *best, *middle[swapped:], *BEST[:swapped], *reversed(WORST)]
    n = len(titles)
    return pl.DataFrame(
        {
            "title": titles,
            "bias": [1 - k / n for k in range(n)],
            "mean_rating": [1 + k / n for k in range(n)],
            "ratings": [1] + [20] * (n - 1),
        }
    )


def test_overlap_is_counted_at_each_end() -> None:
    found = overlaps(ranking(swapped=2))
    assert (found["best"].by_bias, found["worst"].by_bias) == (13, 15)
    assert (found["best"].by_mean_rating, found["worst"].by_mean_rating) == (0, 0)
    assert found["best"].missed == BEST[:2]
    assert found["best"].by_chance == pytest.approx(0.225)  # 15 · 15 / 1,000


def test_items_with_few_ratings_do_not_count() -> None:
    assert overlaps(ranking(), min_ratings=1)["best"].by_bias == 14
    assert overlaps(ranking(), min_ratings=21)["best"].by_bias == 0


def test_runs_are_told_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_plan(tmp_path / "plan", lambda *_: {"rmse": 1.0}, seeds=(0, 1))
    assert main([str(folder)]) == 2
    assert f"no finished run has {FILE}" in capsys.readouterr().err
    for swapped, run in enumerate(sorted(p.parent for p in folder.rglob("run.json"))):
        (run / FILE).parent.mkdir()
        ranking(swapped=2 * swapped).write_csv(run / FILE)
    assert main([str(folder)]) == 0
    told = capsys.readouterr().out
    assert "14.0 ± 1.4" in told
    assert f"missed of the best, in how many runs: {BEST[0]} 1, {BEST[1]} 1" in " ".join(
        told.split()
    )
    assert "missed of the worst, in how many runs: none" in " ".join(told.split())
