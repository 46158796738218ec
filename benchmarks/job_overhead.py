"""``python -m benchmarks.job_overhead PLAN_FOLDER``: what a job of a plan costs beside its fit.

Of a plan that ran one job after the other: from the end of one job to the end of the next, less the
seconds of that fit. Everything is in it: config, data, model, test, tables, trackers, records.
"""

import argparse
import itertools
import statistics
import sys
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ablab.errors import RunFolderError, UserError
from ablab.report.table.collect import collect
from ablab.runs.record import RunRecord


def overheads(records: list[RunRecord]) -> list[float]:
    """Seconds beside the fit, for each finished job but the first, in the order of their ends.

    Raises:
        RunFolderError: fewer than two jobs are done, or they overlapped.
    """
    done = [r for r in records if r.status == "done" and not r.continued]
    ended = [(datetime.fromisoformat(r.ended or ""), r) for r in done]
    ends = sorted(ended, key=lambda pair: pair[0])
    if len(ends) < 2:
        raise RunFolderError("fewer than two jobs ran from their beginning to their end")
    starts = [datetime.fromisoformat(r.started or "") for _, r in ends]
    if any(start < end for start, (end, _) in zip(starts[1:], ends, strict=False)):
        raise RunFolderError("jobs ran at the same time; give a plan of the serial launcher")
    return [
        (end - before).total_seconds() - record.seconds["fit"]
        for (before, _), (end, record) in itertools.pairwise(ends)
    ]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.job_overhead", description=__doc__)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args(arguments)
    try:
        records = [run.record for run in collect([options.folder])]
        seconds = overheads(records)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 2
    fits = [r.seconds["fit"] for r in records if r.status == "done"]
    table = Table()
    for name in ("seconds a job", "median", "minimum", "maximum", "jobs"):
        table.add_column(name, justify="left" if name == "seconds a job" else "right")
    for name, values in (("beside the fit", seconds), ("fit", fits)):
        spread = (statistics.median(values), min(values), max(values))
        table.add_row(name, *(f"{value:.2f}" for value in spread), str(len(values)))
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
