"""``python -m benchmarks.image_similarity RUN``: similar pictures by components against activations.

The nearest training pictures of all test pictures, by all activations of a layer and by few of
their principal components. The searches take turns, so that what else the machine does slows all of
them alike; a search by components includes the projection of the test pictures. Overlap is the mean
share of the ten nearest that are the same by all activations; same class is that of the nearest.
"""

import argparse
import functools
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from ablab.data.images.pictures import PictureDataModule
from ablab.errors import UserError
from ablab.interpret.layers.activations import activations, described
from ablab.interpret.layers.pca import PCA
from ablab.interpret.pictures.similar_images import COMPONENTS, agreement, nearest
from ablab.runs.find import newest_run
from ablab.training.evaluation import load
from benchmarks.arguments import count

NEIGHBOURS = 10


def search_seconds(
    train: Tensor, test: Tensor, components: list[int], rounds: int
) -> dict[int, list[float]]:
    """Of each round, by number of components; those of all features under 0.

    ``train`` is (N, F), ``test`` (M, F).
    """
    searches: dict[int, Callable[[], object]] = {
        0: functools.partial(nearest, test, train, NEIGHBOURS)
    }
    for n in components:
        pca = PCA.fit(train, n)
        searches[n] = functools.partial(_projected_search, pca, test, pca.transform(train))
    seconds: dict[int, list[float]] = {n: [] for n in searches}
    for number in range(rounds + 1):
        for n, search in searches.items():
            start = time.perf_counter()
            search()
            if number > 0:  # the first is for warming up
                seconds[n].append(time.perf_counter() - start)
    return seconds


def _projected_search(pca: PCA, test: Tensor, train: Tensor) -> object:
    return nearest(pca.transform(test), train, NEIGHBOURS)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.image_similarity",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--layer", help="by its dotted name; the input of the last linear layer")
    parser.add_argument("--components", type=count, nargs="+", default=COMPONENTS)
    parser.add_argument("--rounds", type=count, default=20)
    options = parser.parse_args(arguments)
    try:
        model, data = load(newest_run(options.run))
        if not isinstance(data, PictureDataModule):
            raise UserError(f"{options.run}: its data are no pictures: {type(data).__name__}")
        train, test = (activations(model, data, p, options.layer) for p in ("train", "test"))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 2
    train_labels, test_labels = (data.parts[part][-1] for part in ("train", "test"))
    compared = agreement(train, test, train_labels, test_labels, options.components, NEIGHBOURS)
    rows = compared.rows(named=True)
    numbers = compared["features"].to_list()[:-1]
    start = time.perf_counter()
    PCA.fit(train, max(numbers))
    fit = time.perf_counter() - start
    seconds = search_seconds(train, test, numbers, options.rounds)
    table = Table()
    for head in ("features", "variance", "overlap", "same class", "ms", "times as fast"):
        table.add_column(head, justify="right", no_wrap=True)
    for row, n in zip(rows, [*numbers, 0], strict=True):
        ratios = [raw / own for raw, own in zip(seconds[0], seconds[n], strict=True)]
        shares = (row[name] for name in ("share_of_variance", "overlap", "same_class_share"))
        table.add_row(
            f"{row['features']:,}",
            *(f"{share:.3f}" for share in shares),
            f"{1e3 * statistics.median(seconds[n]):.2f}",
            f"{statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})",
        )
    Console().print(
        f"{len(test):,} test pictures among {len(train):,} training pictures by the "
        f"{described(options.layer)}: median of {options.rounds} searches, "
        f"{torch.get_num_threads()} threads; fit of the components once: {fit:.2f} s"
    )
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
