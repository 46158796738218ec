"""Run the jobs of a plan that can be stacked; the launcher runs the others one by one."""

from collections.abc import Sequence
from pathlib import Path

from hydra.core.utils import JobReturn, JobStatus

from ablab.ablation.launch.job_lines import JobLines
from ablab.ablation.launch.stacked.partition import partition
from ablab.runs.record import RunRecord


def run_stacks(
    folders: Sequence[Path], largest: int | None, write_every: float, lines: JobLines
) -> dict[Path, JobReturn]:
    """Train the stacks among the jobs in ``folders``; return how their members ended.

    Args:
        largest, write_every: as the launcher has them.

    Print a line for each stack, and one for each reason why jobs run alone.

    Raises:
        RunInterrupted: this process got a signal to stop, and the stack has been closed.
    """
    parts = partition([RunRecord.read(folder).config for folder in folders], largest)
    alone = {folders[number]: reason for number, reason in parts.alone.items()}
    ended: dict[Path, JobReturn] = {}
    stacks = [[folders[number] for number in numbers] for numbers in parts.stacks]
    for number, of_stack in enumerate(stacks, 1):
        from ablab.ablation.launch.stacked.train import Watch, train_stack  # imports torch

        told = f"stack {number} of {len(stacks)}: {len(of_stack)} jobs as one model"
        lines.say(told)
        lines.at_a_time = len(of_stack)
        for folder in of_stack:
            lines.begin(folder, stack=told)

        def note(folder: Path, how: JobReturn) -> None:
            ended[folder] = how
            failed = how.status is JobStatus.FAILED
            lines.end(folder, how._return_value if failed else None)

        refused, left = train_stack(of_stack, write_every, Watch(note, lines.reach))
        for folder in [*refused, *left]:
            lines.leave(folder)
        alone |= refused
        if left:
            lines.say(f"{len(left)} of its jobs do not fit into memory beside the others")
            stacks.append(left)
    lines.at_a_time = 1  # the others run one after the other
    for line in reasons_of(list(alone.values())):
        lines.say(line)
    return ended


def reasons_of(reasons: Sequence[str]) -> list[str]:
    """Return a line for each reason: the number of jobs that run alone for it."""
    return [
        f"{reasons.count(reason)} of the jobs alone: {reason}" for reason in dict.fromkeys(reasons)
    ]
