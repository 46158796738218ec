"""The interface of a tracker."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger

from ablab.findings import FOLDER, Findings


@dataclass(frozen=True)
class RunInfo:
    """The facts of a run that a tracker gets before it starts.

    ``config`` is nested and resolved. ``earlier`` holds, by ``name`` of the tracker, the
    ``description`` that an earlier part of the same run left in its record.
    """

    folder: Path
    name: str
    group: str | None
    tags: tuple[str, ...]
    config: dict[str, Any]
    earlier: Mapping[str, Any] = field(default_factory=dict)
    from_step: int = 0  # what an earlier part of the run logged after it will be logged again
    job_type: str | None = None
    in_plan: bool = False  # one of several runs of a command
    beside_others: bool = False  # several runs of this process are open at a time


class Tracker(Logger):
    """A Lightning logger that belongs to a run: attach, log, finish.

    Only rank 0 logs. ``finalize``, which Lightning calls when a fit ends or fails, does nothing:
    the run calls ``finish`` when it has truly ended.
    """

    @abstractmethod
    def attach(self, info: RunInfo) -> None:
        """Open what is needed for the run, and drop what was logged after ``info.from_step``.

        It is called before anything is logged.
        """

    @abstractmethod
    def finish(self, exit_code: int) -> None:
        """Close with the run's exit status. It may be called without ``attach``, and repeatedly."""

    def attach_plan(self, info: RunInfo) -> bool:
        """Open what is needed for the table of a plan; return False if this tracker keeps none.

        It is called once all jobs have ended, with ``info.earlier`` as the record of a job that was
        tracked has it, and the id of the plan's table in place of the job's. After True, the table
        is logged and ``finish`` is called.
        """
        return False

    def log_summary(self, values: Mapping[str, float]) -> None:
        """Log final values of a run."""
        return

    def log_table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Log a table of what was learned."""
        return

    def log_picture(self, name: str, path: Path) -> None:
        """Log a picture of what was learned, a PNG file."""
        return

    def log_findings(self, findings: Findings, folder: Path) -> None:
        """Log the tables and figures that ``findings.write(folder)`` has written."""
        for name, frame in findings.tables.items():
            self.log_table(f"{FOLDER}/{name}", frame.columns, frame.rows())
        for name in findings.figures:
            self.log_picture(f"{FOLDER}/{name}_figure", folder / f"{name}.png")

    @property
    def description(self) -> dict[str, Any]:
        """This tracker's entry in the run record; its ``mode`` is ``off`` if it tracked nothing."""
        return {}

    @property
    def name(self) -> str:
        """The key under which the run record keeps the description."""
        return type(self).__name__

    @property
    def version(self) -> str:
        return ""

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing, since the config comes with ``attach``."""
