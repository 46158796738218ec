"""Keep the tables of a plan up to date after each of its jobs, without slowing the plan down."""

import logging
import time
from pathlib import Path

from ablab.report.table.plan_file import PLAN_FILE

log = logging.getLogger(__name__)
_SHARE = 0.05  # the largest share of a plan's time that may go into writing its tables
_SECONDS_A_BYTE = 4e-6  # of plan.json: a job has some 250 bytes there and takes a millisecond
_due = 0.0


def refresh_tables(plan_folder: Path) -> None:
    """Write the tables again, unless that was done a moment ago; the plan writes the last ones.

    An error is logged and costs the job nothing.
    """
    global _due
    started = time.monotonic()
    if started < _due or _are_fresh(plan_folder):
        return
    try:
        from ablab.report import write_tables

        write_tables(plan_folder)
    except Exception as error:
        log.warning("the tables of %s could not be written: %s", plan_folder, error)
    ended = time.monotonic()
    _due = ended + (ended - started) / _SHARE


def _are_fresh(plan_folder: Path) -> bool:
    """Return whether any process has written the tables a moment ago.

    Else each of 10,000 jobs that run in processes of their own would read 10,000 records.
    """
    try:
        age = time.time() - (plan_folder / "report.csv").stat().st_mtime
        size = (plan_folder / PLAN_FILE).stat().st_size
    except OSError:
        return False
    return 0 <= age < size * _SECONDS_A_BYTE / _SHARE
