"""``python -m lab.report FOLDER…``: a table of runs, from their records alone."""

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lab.errors import UserError
from lab.report.collect import collect
from lab.report.tables import Row, Spread, metric_names, summarise


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m lab.report",
        description="Mean ± standard deviation (n) over seeds, a row for each variant.",
    )
    parser.add_argument(
        "folders", nargs="+", type=Path, help="folders that hold runs, at any depth"
    )
    parser.add_argument(
        "--average",
        metavar="KEY",
        help="average over this setting first, so that the spread is over seeds: data.split",
    )
    parser.add_argument("--metric", action="append", help="only this metric, such as test/rmse")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    options = parser.parse_args(arguments)
    try:
        runs = collect(options.folders)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 2
    metrics = options.metric or metric_names(runs)
    rows = summarise(runs, metrics, average_over=options.average)
    cells = [_cells(row, metrics) for row in rows]
    header = [*(key for key, _ in rows[0].variant), *metrics, "runs", "unfinished"]
    if options.markdown:
        lines = [header, ["---"] * len(header), *cells]
        print("\n".join(f"| {' | '.join(line)} |" for line in lines))  # noqa: T201
        return 0
    table = Table()
    for name in header:
        table.add_column(name, justify="right" if name in metrics else "left", overflow="fold")
    for line in cells:
        table.add_row(*map(Text, line))
    Console().print(table)
    return 0


def _cells(row: Row, metrics: list[str]) -> list[str]:
    values = [_shown(row.metrics.get(metric)) for metric in metrics]
    return [*(value for _, value in row.variant), *values, str(row.runs), str(row.unfinished)]


def _shown(spread: Spread | None) -> str:
    if spread is None:
        return "-"
    if spread.n == 1:
        return f"{spread.mean:.4f} (1)"
    return f"{spread.mean:.4f} ± {spread.std:.4f} ({spread.n})"


if __name__ == "__main__":
    sys.exit(main())
