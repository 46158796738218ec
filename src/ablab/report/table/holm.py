"""Correct several comparisons for their number, after Holm (1979)."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from ablab.report.table.paired import CONFIDENCE, PairedDifference, half_width

ERROR = round(1 - CONFIDENCE, 12)  # the chance that any of the comparisons is called wrongly
_MOST_SEEDS = 1000


@dataclass(frozen=True)
class Corrected:
    """A paired difference tested together with others.

    ``p`` is Holm's, two-sided; nan if the difference has no deviation. The interval has the level
    at which Holm's procedure tests this difference, so it excludes ``by`` exactly where
    ``p <= ERROR``.
    """

    difference: PairedDifference
    by: float
    p: float
    level: float
    low: float
    high: float

    @cached_property  # A report of thousands of rows asks for a few of them.
    def seeds(self) -> int | None:
        """Return the number of seeds for ``p <= ERROR`` at the effect and deviation seen.

        None if it takes more than a thousand, or if the difference has no deviation.
        """
        effect = abs(self.difference.mean - self.by)
        if math.isnan(self.p) or effect == 0:
            return None
        std, numbers = self.difference.std, range(2, _MOST_SEEDS + 1)
        first = bisect_left(numbers, True, key=lambda n: half_width(n, std, self.level) < effect)
        return numbers[first] if first < len(numbers) else None

    @property
    def separable(self) -> bool:
        return self.p <= ERROR


def corrected(differences: Sequence[PairedDifference], by: Sequence[float]) -> list[Corrected]:
    """Return the differences, each tested against its number of ``by``, corrected for all of them.

    Differences without a deviation (one seed, or a value that is not finite) are never called, so
    they do not count as comparisons.
    """
    own = [_p_value(found, value) for found, value in zip(differences, by, strict=True)]
    order = sorted((i for i, p in enumerate(own) if not math.isnan(p)), key=lambda i: own[i])
    level, called, largest = ERROR / max(len(order), 1), True, 0.0
    tested: dict[int, tuple[float, float]] = {}
    for rank, index in enumerate(order):
        if called:  # beyond the first that is not called, none is, and the level stays
            level = ERROR / (len(order) - rank)
            called = own[index] <= level
        largest = max(largest, min(1.0, own[index] * (len(order) - rank)))
        tested[index] = (largest, level)
    return [
        _corrected(found, value, *tested.get(index, (math.nan, level)))
        for index, (found, value) in enumerate(zip(differences, by, strict=True))
    ]


def _corrected(found: PairedDifference, by: float, p: float, level: float) -> Corrected:
    if math.isnan(p):
        return Corrected(found, by, p, level, math.nan, math.nan)
    half = half_width(found.n, found.std, level) if found.std else 0.0
    return Corrected(found, by, p, level, found.mean - half, found.mean + half)


def _p_value(found: PairedDifference, by: float) -> float:
    if math.isnan(found.std):
        return math.nan
    if found.std == 0:
        return float(found.mean == by)
    from scipy.special import stdtr  # imported here, since it takes half a second

    t = (found.mean - by) / (found.std / math.sqrt(found.n))
    return 2 * float(stdtr(found.n - 1, -abs(t)))
