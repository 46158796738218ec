"""Differences are taken seed by seed, and their interval covers the mean as often as it says."""

import math

import numpy as np
import pytest

from ablab.report.table.paired import Interval, paired_difference


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


@pytest.mark.parametrize(
    ("interval", "n", "draws", "expected"),
    [
        ("student", 3, 4000, 0.95),
        ("student", 5, 4000, 0.95),
        ("student", 10, 4000, 0.95),
        ("bootstrap", 3, 400, 0.72),
        ("bootstrap", 5, 400, 0.84),
        ("bootstrap", 10, 400, 0.90),
    ],
)
def test_intervals_cover_the_mean_as_often_as_they_say(
    interval: Interval, n: int, draws: int, expected: float
) -> None:
    """A bootstrap does so less often; the docstring says how often, which is held here."""
    random = np.random.default_rng(1)
    covered = 0
    for _ in range(draws):
        ours = {str(i): value for i, value in enumerate(random.normal(1.0, 2.0, n).tolist())}
        found = paired_difference(ours, dict.fromkeys(ours, 0.0), interval)
        assert found is not None
        covered += found.low <= 1.0 <= found.high
    error = 3 * math.sqrt(expected * (1 - expected) / draws)
    assert covered / draws == pytest.approx(expected, abs=error + 0.01)


@pytest.mark.parametrize("interval", ["student", "bootstrap"])
def test_an_interval_is_the_same_each_time_and_takes_any_values(interval: Interval) -> None:
    zero = dict.fromkeys("abc", 0.0)
    values = {"a": 1.0, "b": 2.5, "c": 2.0}
    assert paired_difference(values, zero, interval) == paired_difference(values, zero, interval)
    nearly = {"a": 0.1 + 0.2, "b": 0.3, "c": 0.3}  # equal but for rounding
    found = paired_difference(nearly, zero, interval)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((0.3, 0.3))
    diverged = paired_difference({"a": math.inf, "b": -math.inf}, zero, interval)
    assert diverged is not None
    assert math.isnan(diverged.mean)
