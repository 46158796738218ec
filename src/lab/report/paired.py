"""Differences between two variants, seed by seed, with the interval that their spread allows."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95


@dataclass(frozen=True)
class PairedDifference:
    """Mean over ``n`` common seeds, and a bootstrap interval of it; nan where n < 2."""

    mean: float
    low: float
    high: float
    n: int


def paired_difference(
    ours: Mapping[str, float], baseline: Mapping[str, float]
) -> PairedDifference | None:
    """``ours - baseline`` over the seeds that both have; None without any.

    The interval is BCa (Efron 1987) from 10,000 resamples of the pairs, the same at every call.
    """
    from scipy.stats import bootstrap  # imported here: takes a second

    differences = np.array([ours[seed] - baseline[seed] for seed in ours if seed in baseline])
    n = len(differences)
    if n == 0:
        return None
    mean = float(differences.mean())
    if n == 1:
        return PairedDifference(mean, math.nan, math.nan, n)
    if np.ptp(differences) == 0:
        return PairedDifference(mean, mean, mean, n)
    interval = bootstrap(
        (differences,),
        np.mean,
        n_resamples=10_000,
        confidence_level=CONFIDENCE,
        method="BCa",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return PairedDifference(mean, float(interval.low), float(interval.high), n)
