"""``ablab report FOLDER…`` prints the table of a plan or of any runs, from their records alone.

``ablab report diff RUN_A RUN_B`` prints the settings and metrics in which two runs differ.
"""

import argparse
import re
import sys
from pathlib import Path

from ablab.errors import UserError
from ablab.report.describe import diff_document
from ablab.report.differences import show_differences
from ablab.report.documents import as_json
from ablab.report.forms.latex import Paper
from ablab.report.table.comparison import compare
from ablab.report.table.tables import ReportTable, build_table
from ablab.report.watch import watch
from ablab.report.write import FORMATS, console, print_table, rendered, save_figures, save_report
from ablab.safety.commands import as_command
from ablab.safety.printable import printable


@as_command
def main(arguments: list[str]) -> int:
    """Run ``ablab report``; return the exit status."""
    if arguments[:1] == ["diff"]:
        _diff(arguments[1:])
        return 0
    options = _parser().parse_args(arguments)
    if options.watch:
        return _watch(options)
    _report(options)
    return 0


def _diff(arguments: list[str]) -> None:
    """Print the differences of two runs. Raise RunFolderError if a run cannot be read."""
    parser = argparse.ArgumentParser(
        prog="ablab report diff",
        description="Print the settings and metrics in which two runs differ.",
    )
    parser.add_argument("a", type=Path, metavar="RUN_A", help="a run folder")
    parser.add_argument("b", type=Path, metavar="RUN_B", help="another run folder")
    parser.add_argument("--format", choices=("terminal", "json"), default="terminal")
    options = parser.parse_args(arguments)
    if options.format == "json":
        print(as_json(diff_document((options.a, options.b))))  # noqa: T201
    else:
        show_differences((options.a, options.b), console())


def _watch(options: argparse.Namespace) -> int:
    """Write the report of a running plan after each of its jobs; return the exit status."""
    if len(options.folders) != 1 or options.figures is not None:
        raise UserError("--watch writes the report of one plan; name its folder, and no figures")
    (folder,) = options.folders
    ending = FORMATS[options.format or "html"]
    options.output = options.output or folder / f"report{ending}"
    return watch(folder, options.output, lambda: _report(options))


def _report(options: argparse.Namespace) -> ReportTable:
    """Print or write what the options ask for; return the table.

    Raises:
        UserError: that is not possible.
    """
    baseline = _parse_baseline(options.baseline)
    comparison = compare(
        options.folders, average=options.average, metrics=options.metric, baseline=baseline
    )
    table = build_table(comparison, options.interval)
    if baseline and not any(index is not None for index in table.baselines):
        raise UserError(_no_baseline(table, options.baseline))
    form = options.format or (_format_of(options.output) if options.output else "terminal")
    paper = _parse_paper(options, form)
    if options.figures is not None:
        for path in save_figures(options.figures, table, options.width):
            print(path)  # noqa: T201
    elif options.output is not None:
        save_report(options.output, table, form, paper)
    elif form == "terminal":
        print_table(table, console())
    else:
        print(printable(rendered(table, form, paper=paper)), end="")  # noqa: T201
    return table


def _parse_paper(options: argparse.Namespace, form: str) -> Paper:
    """Return how a table looks in LaTeX. Raise UserError if that is asked for in another form."""
    titles = [title.strip() for title in (options.columns or "").split(",") if title.strip()]
    paper = Paper(titles, options.digits, options.percent, options.label)
    if paper != Paper([]) and form != "latex":
        raise UserError("--columns, --digits, --percent and --label need --format latex")
    return paper


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ablab report",
        description="Print mean ± standard deviation (n seeds) with a row for each variant of a "
        "plan, or for each combination of the settings in which any runs differ.",
        epilog="ablab report diff RUN_A RUN_B prints the differences of two runs.",
    )
    parser.add_argument(
        "folders", nargs="+", type=Path, help="a plan's folder, or folders with runs"
    )
    parser.add_argument(
        "--average",
        metavar="KEY",
        action="append",
        default=[],
        help="average over this setting first, so that the spread is over seeds, e.g. data.split",
    )
    parser.add_argument(
        "--metric", action="append", default=[], help="show only this metric, e.g. test/rmse"
    )
    parser.add_argument(
        "--baseline",
        metavar="KEY=VALUE,…",
        help="show the difference of each row, paired by seed, to the row with these values in "
        "place of its own, e.g. variant=none",
    )
    parser.add_argument(
        "--interval",
        choices=("student", "bootstrap"),
        default="student",
        help="interval of the differences; a bootstrap is too narrow for few seeds",
    )
    parser.add_argument("--format", choices=FORMATS, help="default: by the ending of --output")
    latex = parser.add_argument_group("with --format latex")
    latex.add_argument(
        "--columns",
        metavar="TITLE,…",
        help="these columns, e.g. 'variant,test/rmse,Δ test/rmse'; default: what fits an article",
    )
    latex.add_argument("--digits", type=int, choices=range(10), metavar="N", help="decimals")
    latex.add_argument("--percent", action="store_true", help="multiply metrics by 100")
    latex.add_argument("--label", metavar="NAME", help="a floating table with caption and label")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write to a file")
    parser.add_argument(
        "--watch",
        action="store_true",
        help="write the report (report.html in the plan's folder, or --output) again after each "
        "job of a running plan, until the plan ends",
    )
    parser.add_argument(
        "--figures",
        type=Path,
        metavar="FOLDER",
        help="write the page's pictures for a paper, as PDF and SVG",
    )
    parser.add_argument(
        "--width",
        type=_inches,
        default=3.25,
        metavar="INCHES",
        help="width of --figures (default: 3.25, a column of a paper)",
    )
    return parser


def _inches(text: str) -> float:
    try:
        if 2 <= float(text) <= 20:
            return float(text)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"should be a width from 2 to 20 inches, not '{text}'")


def _format_of(output: Path) -> str:
    endings = {ending: name for name, ending in FORMATS.items()}
    if output.suffix not in endings:
        raise UserError(
            f"--output: no format has the ending '{output.suffix}' of {output.name}; take one of "
            f"{', '.join(endings)}, or name the format with --format"
        )
    return endings[output.suffix]


def _parse_baseline(baseline: str | None) -> dict[str, str] | None:
    if baseline is None:
        return None
    # A comma inside a list separates no parts: optim.betas=[0.9, 0.999].
    parts = [part.partition("=") for part in re.split(r",\s*(?=[\w.-]+=)", baseline)]
    if not all(separator for _, separator, _ in parts):
        raise UserError(f"--baseline should be KEY=VALUE,…, not '{baseline}'")
    return {key.strip(): value.strip() for key, _, value in parts}


def _no_baseline(table: ReportTable, wanted: str) -> str:
    variants = "\n".join(",".join(f"{k}={v}" for k, v in row.variant) for row in table.rows)
    return f"--baseline: '{wanted}' is none of the rows:\n{variants}"


if __name__ == "__main__":
    sys.exit(main())
