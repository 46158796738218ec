"""Keep the tables of a plan up to date after each of its jobs, without slowing the plan down."""

import logging
import time
from pathlib import Path

log = logging.getLogger(__name__)
_SHARE = 0.05  # the largest share of a plan's time that may go into writing its tables
_due = 0.0


def refresh_tables(plan_folder: Path) -> None:
    """Write the tables again, unless that was done a moment ago; the plan writes the last ones.

    An error is logged and costs the job nothing.
    """
    global _due
    started = time.monotonic()
    if started < _due:
        return
    try:
        from ablab.report import write_tables

        write_tables(plan_folder)
    except Exception as error:
        log.warning("the tables of %s could not be written: %s", plan_folder, error)
    ended = time.monotonic()
    _due = ended + (ended - started) / _SHARE
