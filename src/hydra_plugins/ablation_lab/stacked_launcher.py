"""Train jobs of a plan that differ in numbers alone as one model, and the others one by one."""

from collections.abc import Sequence
from pathlib import Path

from hydra.core.utils import JobReturn

from ablab.errors import ConfigError
from hydra_plugins.ablation_lab.serial_launcher import SerialLauncher


class StackedLauncher(SerialLauncher):
    """``largest``: members of a stack, None for as many as pay; ``write_every``: the seconds of
    work, beside an epoch, that a stack loses at most when it is killed."""

    def __init__(self, largest: int | None = None, write_every: float = 10.0) -> None:
        if largest is not None and (type(largest) is not int or largest < 1):
            raise ConfigError(
                f"hydra.launcher.largest: should be 1 or more, or null (it is {largest})"
            )
        if type(write_every) not in (int, float) or not write_every >= 0:
            raise ConfigError(
                f"hydra.launcher.write_every: should be seconds, 0 or more (it is {write_every})"
            )
        self.largest = largest
        self.write_every = write_every

    def describe(self, configs: dict[int, dict[str, object]]) -> list[str]:
        """Return lines for a dry run: which of the jobs, by their numbers, are stacked."""
        from ablab.ablation.launch.stacked.describe import describe

        return describe(configs, self.largest)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        from ablab.ablation.launch.job_lines import JobLines
        from ablab.ablation.launch.launch import folder_of
        from ablab.ablation.launch.live_table import LiveTable
        from ablab.ablation.launch.stacked.stacks import run_stacks
        from ablab.command.import_lightning import import_lightning

        import_lightning()
        folders = [folder_of(overrides) for overrides in job_overrides]
        lines = JobLines(len(folders))
        ended: dict[Path, JobReturn]
        with LiveTable(lines, by_itself=True):
            ended = run_stacks(folders, self.largest, self.write_every, lines)
            each = zip(job_overrides, folders, strict=True)
            left = [overrides for overrides, folder in each if folder not in ended]
            alone = self.run_in_turn(left, initial_job_idx, lines)
        rest = iter(alone)
        return [ended[folder] if folder in ended else next(rest) for folder in folders]
