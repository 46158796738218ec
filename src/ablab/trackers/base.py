"""What the runner asks of a tracker."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger

from ablab.findings import FOLDER, Findings


@dataclass(frozen=True)
class RunInfo:
    """What a tracker is told of a run before it starts; ``config`` is nested and resolved."""

    folder: Path
    name: str
    group: str | None
    tags: tuple[str, ...]
    config: dict[str, Any]
    earlier: Mapping[str, Any] = field(default_factory=dict)
    job_type: str | None = None
    in_plan: bool = False  # one of several runs of a command


class Tracker(Logger):
    """A Lightning logger that belongs to a run: attach, (truncate_after), log, finish.

    Only rank 0 does anything. ``finalize``, which Lightning calls when a fit ends or fails, does
    nothing: the runner knows the run's true end and calls ``finish``.
    """

    @abstractmethod
    def attach(self, info: RunInfo) -> None:
        """Open what is needed for the run; before anything is logged."""

    @abstractmethod
    def finish(self, exit_code: int) -> None:
        """Close with the run's exit status; also without ``attach``, and more than once."""

    def attach_plan(self, info: RunInfo) -> bool:
        """Open what is needed for the table of a plan; return False if this tracker keeps none.

        It is called once all jobs have ended, with ``info.earlier`` as the record of a job that was
        tracked has it, and the id of the plan's table in place of the job's. After True, the table
        is logged and ``finish`` is called.
        """
        return False

    def truncate_after(self, step: int) -> None:
        """Forget what was logged after ``step``, since a continued run logs it again."""
        return

    def log_summary(self, values: Mapping[str, float]) -> None:
        """Final values of a run."""
        return

    def log_table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """A table of what was learned."""
        return

    def log_picture(self, name: str, path: Path) -> None:
        """A picture of what was learned, a PNG file."""
        return

    def log_findings(self, findings: Findings, folder: Path) -> None:
        """Send the tables and figures that ``findings.write(folder)`` has written."""
        for name, frame in findings.tables.items():
            self.log_table(f"{FOLDER}/{name}", frame.columns, frame.rows())
        for name in findings.figures:
            self.log_picture(f"{FOLDER}/{name}_figure", folder / f"{name}.png")

    @property
    def description(self) -> dict[str, Any]:
        """What the run record keeps of this tracker; ``mode`` is ``off`` if it tracked nothing."""
        return {}

    @property
    def name(self) -> str:
        return type(self).__name__

    @property
    def version(self) -> str:
        return ""

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: the config comes with ``attach``."""
