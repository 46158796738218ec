"""Say before a plan runs how its jobs would be stacked."""

from collections.abc import Mapping, Sequence
from typing import Any

from ablab.ablation.launch.stacked.partition import partition
from ablab.ablation.launch.stacked.stacks import reasons_of
from ablab.command.import_lightning import import_lightning
from ablab.config.schema import Config
from ablab.errors import FAULTS_OF_A_JOB, first_line


def describe(configs: Mapping[int, Mapping[str, Any]], largest: int | None) -> list[str]:
    """Return a line for each stack, and one for each reason against one.

    Args:
        configs: of the jobs that are to run, by their numbers in the table.
        largest: as the launcher has it.
    """
    numbers = list(configs)
    parts = partition(list(configs.values()), largest)
    alone, stacks, unknown = list(parts.alone.values()), [], {}
    for jobs in parts.stacks:
        most, reason = len(jobs), ""
        try:
            import_lightning()
            from ablab.ablation.launch.stacked.build import room_for  # imports torch

            most, reason = room_for(Config.model_validate(configs[numbers[jobs[0]]]))
        except FAULTS_OF_A_JOB as error:
            unknown[f"memory may split stacks, which is not known: {first_line(error)}"] = None
        if reason:
            alone += [reason] * len(jobs)
            continue
        for first in range(0, len(jobs), most):
            of_stack = jobs[first : first + most]
            if len(of_stack) == 1:
                alone.append("there is no memory for it beside the others")
                continue
            told = f"{len(of_stack)} jobs as one model ({_ranges([numbers[j] for j in of_stack])})"
            told += ", as many as there is memory for" if len(of_stack) == most < len(jobs) else ""
            stacks.append(f"stack {len(stacks) + 1}: {told}")
    return [*stacks, *reasons_of(alone), *unknown]


def _ranges(jobs: Sequence[int]) -> str:
    """Return numbers of jobs, neighbours as a range: ``1-4, 7``."""
    ranges: list[list[int]] = []
    for job in jobs:
        if ranges and ranges[-1][1] == job - 1:
            ranges[-1][1] = job
        else:
            ranges.append([job, job])
    return ", ".join(f"{a}-{b}" if b > a else f"{a}" for a, b in ranges)
