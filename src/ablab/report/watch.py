"""``ablab report FOLDER --watch``: write a plan's report again after its jobs, until it ends."""

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from ablab.errors import RunFolderError
from ablab.report.table.comparison import STATUSES
from ablab.report.table.plan_file import PLAN_FILE, PlanFile
from ablab.report.table.tables import ReportTable
from ablab.runs.record import FILE_NAME
from ablab.safety.folder_lock import is_locked
from ablab.safety.printable import in_a_line

_SHARE = 0.1  # the largest share of a processor that goes into writing, since the jobs need it

_State = tuple[tuple[int, int, int] | None, ...]


def watch(folder: Path, path: Path, write: Callable[[], ReportTable], *, poll: float = 2.0) -> int:
    """Call ``write``, which writes ``path``, whenever a job of the plan begins or ends.

    Between two calls only the times of the records are read, every ``poll`` seconds.

    Returns:
        The exit status: 0 when the plan has ended, 130 if Ctrl-C has ended the watching.

    Raises:
        RunFolderError: there is no plan in ``folder``, or at its end a report cannot be written.
    """
    PlanFile.read(folder)
    link = f"; {path.resolve().as_uri()}#watch shows the newest" if path.suffix == ".html" else ""
    _tell(f"{path} is written again after each job of {folder}{link}. Ctrl-C ends only this.")
    try:
        seen, due = None, 0.0
        while is_locked(folder):
            state = _state(folder)
            if state != seen and time.monotonic() >= due:
                before = time.process_time()
                _try(write)
                seen = state
                due = time.monotonic() + (time.process_time() - before) / _SHARE
            time.sleep(poll)
        jobs = Counter(job.status for job in write().comparison.jobs)
    except KeyboardInterrupt:
        _tell("stopped watching; the plan goes on")
        return 130
    _tell(f"{'the plan has ended' if seen else 'no plan is running there'}: {_counted(jobs)}")
    return 0


def _try(write: Callable[[], ReportTable]) -> None:
    """Write the report; tell an error and go on, since the next time may succeed."""
    clock = time.strftime("%H:%M:%S")
    try:
        jobs = Counter(job.status for job in write().comparison.jobs)
    except RunFolderError as error:
        _tell(f"{clock}  not written: {error}")
    else:
        _tell(f"{clock}  {_counted(jobs)}")


def _state(folder: Path) -> _State:
    """Return what changes when a job begins or ends."""
    try:
        jobs = PlanFile.read(folder).jobs
    except RunFolderError:
        jobs = ()
    records = [folder / job.folder / FILE_NAME for job in jobs]
    return tuple(map(_stamp, [folder / PLAN_FILE, *records]))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _counted(jobs: Counter[str]) -> str:
    return ", ".join(f"{jobs[status]} {status}" for status in STATUSES if jobs[status]) or "no jobs"


def _tell(line: str) -> None:
    print(in_a_line(line), flush=True)  # noqa: T201
