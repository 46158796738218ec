"""Differences are taken seed by seed, and their interval covers the mean as often as it says."""

import math
from pathlib import Path

import numpy as np
import pytest

from lab.errors import UserError
from lab.report.collect import collect
from lab.report.paired import paired_difference
from lab.report.tables import find_row, summarise
from tests.report.test_tables import record_run


def test_pairs_take_out_what_seeds_have_in_common() -> None:
    """Seeds differ by far more than variants, and always by the same: the interval has no width."""
    baseline = {str(seed): 100.0 * seed for seed in range(5)}
    ours = {seed: value + 0.5 for seed, value in baseline.items()}
    found = paired_difference(ours, baseline)
    assert found is not None
    assert (found.mean, found.low, found.high, found.n) == pytest.approx((0.5, 0.5, 0.5, 5))


def test_only_common_seeds_count() -> None:
    found = paired_difference({"0": 1.0, "1": 5.0, "2": 9.0}, {"1": 4.0, "2": 9.0, "3": 0.0})
    assert found is not None
    assert (found.mean, found.n) == (0.5, 2)
    assert paired_difference({"0": 1.0}, {"1": 1.0}) is None
    alone = paired_difference({"0": 1.0}, {"0": 3.0})
    assert alone is not None
    assert alone.mean == -2.0
    assert math.isnan(alone.low)


def test_the_interval_covers_the_mean_as_often_as_it_says() -> None:
    """At five seeds, which is what there mostly is; a bootstrap covers it 80 times in 100."""
    random = np.random.default_rng(1)
    covered = 0
    for _ in range(1000):
        ours = {str(i): value for i, value in enumerate(random.normal(1.0, 2.0, 5).tolist())}
        found = paired_difference(ours, dict.fromkeys(ours, 0.0))
        assert found is not None
        covered += found.low <= 1.0 <= found.high
    assert 0.93 <= covered / 1000 <= 0.97


def test_a_baseline_is_named_by_its_settings(tmp_path: Path) -> None:
    for lr in (0.1, 0.2):
        for seed in range(2):
            settings = {"lr": lr, "seed": seed}
            record_run(tmp_path / f"{lr}-{seed}", settings, 0.5 + lr + seed / 10)
    rows = summarise(collect([tmp_path]), ["test/rmse"])
    row = find_row(rows, "optim.lr=0.1")
    assert row.variant == (("optim.lr", "0.1"),)
    assert sorted(row.per_seed["test/rmse"].values()) == pytest.approx([0.6, 0.7])
    with pytest.raises(UserError, match="is 0 of these variants"):
        find_row(rows, "optim.lr=0.3")
