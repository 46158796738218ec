"""``python -m lab.report FOLDER…``: a table of runs, from their records alone.
``python -m lab.report diff RUN_A RUN_B``: in what two of them differ."""

import argparse
import re
import sys
from pathlib import Path

from lab.errors import UserError
from lab.printable import printable
from lab.report.comparison import compare
from lab.report.differences import show_differences
from lab.report.tables import Table, build_table
from lab.report.write import FORMATS, console, print_table, rendered, save, save_pictures
from lab.surroundings import settle_surroundings


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        if arguments[:1] == ["diff"]:
            _diff(arguments[1:])
        else:
            _report(_parser().parse_args(arguments))
    except UserError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


def _diff(arguments: list[str]) -> None:
    """Raises RunFolderError if there is no run to be read."""
    parser = argparse.ArgumentParser(
        prog="python -m lab.report diff", description="In what two runs differ, and nothing else."
    )
    parser.add_argument("a", type=Path, metavar="RUN_A", help="a run folder")
    parser.add_argument("b", type=Path, metavar="RUN_B", help="another")
    options = parser.parse_args(arguments)
    show_differences((options.a, options.b), console())


def _report(options: argparse.Namespace) -> None:
    """Raises UserError for what was asked and cannot be had."""
    wanted = _parts(options.baseline)
    comparison = compare(
        options.folders, average=options.average, metrics=options.metric, baseline=wanted
    )
    table = build_table(comparison, options.interval)
    if wanted and not any(baseline is not None for baseline in table.baselines):
        raise UserError(_no_baseline(table, options.baseline))
    if options.pictures is not None:
        for path in save_pictures(options.pictures, table):
            print(path)  # noqa: T201
    elif options.output is not None:
        save(options.output, rendered(table, options.format or _format_of(options.output)))
    elif options.format in (None, "terminal"):
        print_table(table, console())
    else:
        print(printable(rendered(table, options.format)), end="")  # noqa: T201


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lab.report",
        description="Mean ± standard deviation (n seeds), a row for each variant: of a plan, or of "
        "any runs, by the settings in which they differ.",
        epilog="python -m lab.report diff RUN_A RUN_B: in what two runs differ.",
    )
    parser.add_argument(
        "folders", nargs="+", type=Path, help="a plan's folder, or folders that hold runs"
    )
    parser.add_argument(
        "--average",
        metavar="KEY",
        action="append",
        default=[],
        help="average over this setting first, so that the spread is over seeds: data.split",
    )
    parser.add_argument(
        "--metric", action="append", default=[], help="only this metric, such as test/rmse"
    )
    parser.add_argument(
        "--baseline",
        metavar="KEY=VALUE,…",
        help="show differences, paired by seed, to the row with these values in place of its own: "
        "name=digits_scratch",
    )
    parser.add_argument(
        "--interval",
        choices=("student", "bootstrap"),
        default="student",
        help="of differences; a bootstrap is too narrow for few seeds",
    )
    parser.add_argument("--format", choices=FORMATS, help="by default what --output ends in")
    parser.add_argument("--output", type=Path, metavar="FILE", help="instead of the terminal")
    parser.add_argument(
        "--pictures", type=Path, metavar="FOLDER", help="save the page's pictures as SVG, no table"
    )
    return parser


def _format_of(output: Path) -> str:
    endings = {ending: name for name, ending in FORMATS.items()}
    return endings.get(output.suffix, "terminal")


def _parts(baseline: str | None) -> dict[str, str] | None:
    if baseline is None:
        return None
    # a list has commas as well: optim.betas=[0.9, 0.999]
    parts = [part.partition("=") for part in re.split(r",\s*(?=[\w.-]+=)", baseline)]
    if not all(separator for _, separator, _ in parts):
        raise UserError(f"--baseline is KEY=VALUE,…, not '{baseline}'")
    return {key.strip(): value.strip() for key, _, value in parts}


def _no_baseline(table: Table, wanted: str) -> str:
    variants = "\n".join(",".join(f"{k}={v}" for k, v in row.variant) for row in table.rows)
    return f"baseline '{wanted}' is none of these variants:\n{variants}"


if __name__ == "__main__":
    settle_surroundings()
    sys.exit(main())
