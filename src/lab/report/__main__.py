"""``python -m lab.report FOLDER…``: a table of runs, from their records alone."""

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lab.errors import UserError
from lab.report.collect import collect
from lab.report.paired import CONFIDENCE, paired_difference
from lab.report.tables import Row, Spread, find_row, metric_names, summarise


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m lab.report",
        description="Mean ± standard deviation (n seeds), a row for each variant; runs of one seed "
        "are averaged first.",
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
    parser.add_argument(
        "--baseline",
        metavar="KEY=VALUE",
        help="show each row's difference to this one, paired by seed: name=digits_scratch",
    )
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    options = parser.parse_args(arguments)
    try:
        runs = collect(options.folders)
        metrics = options.metric or metric_names(runs)
        rows = summarise(runs, metrics, average_over=options.average)
        baseline = find_row(rows, options.baseline) if options.baseline else None
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 2
    cells = [_cells(row, metrics, baseline) for row in rows]
    header = [*(key for key, _ in rows[0].variant), *metrics]
    if baseline is not None:
        header += [f"Δ {metric} [{CONFIDENCE:.0%}]" for metric in metrics]
    header += ["runs", "unfinished"]
    if not any(row.unfinished for row in rows):
        header, cells = header[:-1], [line[:-1] for line in cells]
    if options.markdown:
        lines = [header, ["---"] * len(header), *cells]
        print("\n".join(f"| {' | '.join(line)} |" for line in lines))  # noqa: T201
        return 0
    table = Table()
    for name in header:
        table.add_column(name, justify="right" if name in metrics else "left", overflow="fold")
    for line in cells:
        table.add_row(*map(Text, line))
    console = Console()
    if not console.is_terminal:
        console = Console(width=300)  # a file has no edge; rich would cut words to fit 80 columns
    console.print(table)
    return 0


def _cells(row: Row, metrics: list[str], baseline: Row | None) -> list[str]:
    values = [_shown(row.metrics.get(metric)) for metric in metrics]
    if baseline is not None:
        values += [_difference(row, baseline, metric) for metric in metrics]
    return [*(value for _, value in row.variant), *values, str(row.runs), str(row.unfinished)]


def _shown(spread: Spread | None) -> str:
    if spread is None:
        return "-"
    if spread.n == 1:
        return f"{spread.mean:.4f} (1)"
    return f"{spread.mean:.4f} ± {spread.std:.4f} ({spread.n})"


def _difference(row: Row, baseline: Row, metric: str) -> str:
    if row is baseline:
        return "baseline"
    found = paired_difference(row.per_seed.get(metric, {}), baseline.per_seed.get(metric, {}))
    if found is None:
        return "-"
    return f"{found.mean:+.4f} [{found.low:+.4f}, {found.high:+.4f}] ({found.n})"


if __name__ == "__main__":
    sys.exit(main())
