"""``ablab data list|fetch``: list the project's data sets, or fetch them ahead of a run.

A package of the project names its data sets in a module ``datasets`` of its own:
``DATASETS = {"photos": Dataset(…)}``.
"""

import argparse
import sys
import time
from pathlib import Path

from ablab import project
from ablab.config.suggestions import suggestion
from ablab.data.files.dataset import Dataset
from ablab.errors import DataError
from ablab.safety.commands import as_command


@as_command
def main(arguments: list[str]) -> int:
    """Run the command; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="ablab data",
        description="List the data sets of this project, or fetch them before a run needs them.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", help="the data that can be fetched, and what is here")
    fetching = commands.add_parser("fetch", help="fetch and verify data; a run does so by itself")
    fetching.add_argument("names", nargs="+", metavar="NAME", help="as `list` names it")
    for command in (listing, fetching):
        command.add_argument(
            "--root", type=Path, default=Path("data"), help="folder of all data (default: data)"
        )
    options = parser.parse_args(arguments)
    if options.command == "list":
        _list(_datasets(), options.root)
    else:
        _fetch(_datasets(), options.names, options.root)
    return 0


def _datasets() -> dict[str, Dataset]:
    modules = project.current().modules("datasets")
    return {name: dataset for module in modules for name, dataset in module.DATASETS.items()}


def _list(datasets: dict[str, Dataset], root: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for column in ("name", "data", "terms", f"in {root}"):
        table.add_column(column, overflow="fold")
    for name, dataset in datasets.items():
        here = (root / dataset.folder).is_dir()
        table.add_row(name, dataset.description, dataset.terms, "yes" if here else "no")
    Console().print(table)


def _fetch(datasets: dict[str, Dataset], names: list[str], root: Path) -> None:
    for name in names:
        if name not in datasets:
            raise DataError(f"there is no data set '{name}'{suggestion(name, list(datasets))}")
    for name in names:
        started = time.perf_counter()
        _, source = datasets[name].fetch(root)
        seconds = time.perf_counter() - started
        folder = root / datasets[name].folder
        print(f"{name}: verified in {folder} (from {source}, {seconds:.1f} s)")  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
