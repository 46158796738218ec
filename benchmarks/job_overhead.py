"""``python -m benchmarks.job_overhead PLAN_FOLDER``: what a job of a plan costs beside its fit.

For a plan that ran its jobs one after the other, this is the time from the end of one job to the
end of the next, less the seconds of the fit: config, data, model, test, tables, trackers, records.
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
    """Return the seconds beside the fit of each finished job but the first, in order.

    Raises:
        RunFolderError: fewer than two jobs are done, or they overlapped.
    """
    done = [r for r in records if r.status == "done" and not r.continued]
    ended = [(datetime.fromisoformat(r.ended or ""), r) for r in done]
    ends = sorted(ended, key=lambda pair: pair[0])
    if len(ends) < 2:
        raise RunFolderError("fewer than two jobs ran without interruption")
    starts = [datetime.fromisoformat(r.started or "") for _, r in ends]
    if any(start < end for start, (end, _) in zip(starts[1:], ends, strict=False)):
        raise RunFolderError("jobs ran at the same time; run the plan with hydra/launcher=serial")
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
