"""Differences between two variants, paired by seed, with confidence intervals."""

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

CONFIDENCE = 0.95
Interval = Literal["student", "bootstrap"]


@dataclass(frozen=True)
class PairedDifference:
    """The mean difference over ``n`` common seeds and its standard deviation over them.

    The deviation and the interval are nan if n < 2 or a value is not finite.
    """

    mean: float
    low: float
    high: float
    n: int
    std: float


def paired_difference(
    ours: Mapping[str, float], baseline: Mapping[str, float], interval: Interval = "student"
) -> PairedDifference | None:
    """Return ``ours - baseline`` over the seeds that both have; None if there are none.

    The interval is Student's for paired differences, or a BCa bootstrap (Efron 1987; always the
    same resamples), which is too narrow for few seeds. How often the 95 % intervals cover the mean
    of normal differences (20,000 draws; 2,000 for the bootstrap):

    =========  ======  ======  ======
    seeds           3       5      10
    =========  ======  ======  ======
    student    94.9 %  95.1 %  95.2 %
    bootstrap  72.0 %  84.4 %  90.2 %
    =========  ======  ======  ======
    """
    differences = [ours[seed] - baseline[seed] for seed in ours if seed in baseline]
    n = len(differences)
    if n == 0:
        return None
    if not all(map(math.isfinite, differences)):
        return PairedDifference(math.nan, math.nan, math.nan, n, math.nan)
    mean = statistics.fmean(differences)
    if n == 1:
        return PairedDifference(mean, math.nan, math.nan, n, math.nan)
    std = statistics.stdev(differences)
    if std == 0:
        return PairedDifference(mean, mean, mean, n, std)
    if interval == "bootstrap":
        return PairedDifference(mean, *_bootstrap(differences), n, std)
    half = half_width(n, std, 1 - CONFIDENCE)
    return PairedDifference(mean, mean - half, mean + half, n, std)


def half_width(n: int, std: float, level: float) -> float:
    """Return half the width of Student's interval of a mean of ``n`` that misses with ``level``."""
    from scipy.special import stdtrit  # imported here, since it takes half a second

    return float(stdtrit(n - 1, 1 - level / 2)) * std / math.sqrt(n)


def _bootstrap(values: list[float]) -> tuple[float, float]:
    import numpy as np
    from scipy.stats import bootstrap  # imported here, since it takes a second

    found = bootstrap(
        (values,), np.mean, confidence_level=CONFIDENCE, method="BCa", rng=np.random.default_rng(0)
    ).confidence_interval
    return float(found.low), float(found.high)
