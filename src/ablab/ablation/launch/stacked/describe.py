"""Say before a plan runs how its jobs would be stacked."""

from collections.abc import Mapping, Sequence
from typing import Any

from ablab.ablation.launch.stacked.partition import partition
from ablab.ablation.launch.stacked.stacks import reasons_of


def describe(configs: Sequence[Mapping[str, Any]], largest: int | None) -> list[str]:
    """Return a line for each stack, and one for each reason against one."""
    parts = partition(configs, largest)
    stacks = [
        f"stack {number}: {len(jobs)} jobs as one model ({_numbers(jobs)})"
        for number, jobs in enumerate(parts.stacks, 1)
    ]
    lines = [*stacks, *reasons_of(list(parts.alone.values()))]
    return [*lines, "a stack whose jobs do not fit into memory is split"] if stacks else lines


def _numbers(jobs: Sequence[int]) -> str:
    """Return the numbers of jobs as the table has them, neighbours as a range: ``1-4, 7``."""
    ranges: list[list[int]] = []
    for job in jobs:
        if ranges and ranges[-1][1] == job:
            ranges[-1][1] = job + 1
        else:
            ranges.append([job + 1, job + 1])
    return ", ".join(f"{a}-{b}" if b > a else f"{a}" for a, b in ranges)
