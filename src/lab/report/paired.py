"""Differences between two variants, seed by seed, with the interval that their spread allows."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95


@dataclass(frozen=True)
class PairedDifference:
    """Mean over ``n`` common seeds, and an interval of it; nan where n < 2."""

    mean: float
    low: float
    high: float
    n: int


def paired_difference(
    ours: Mapping[str, float], baseline: Mapping[str, float]
) -> PairedDifference | None:
    """``ours - baseline`` over the seeds that both have; None without any.

    The interval is Student's, of paired differences. A bootstrap is too sure of itself with few
    seeds: of normal differences BCa's 95 % interval covers the mean four times in five at n = 5.
    """
    from scipy.stats import t  # imported here: takes a second

    differences = np.array([ours[seed] - baseline[seed] for seed in ours if seed in baseline])
    n = len(differences)
    if n == 0:
        return None
    mean = float(differences.mean())
    if n == 1:
        return PairedDifference(mean, math.nan, math.nan, n)
    standard_error = float(differences.std(ddof=1)) / math.sqrt(n)
    half = float(t.ppf((1 + CONFIDENCE) / 2, n - 1)) * standard_error
    return PairedDifference(mean, mean - half, mean + half, n)
