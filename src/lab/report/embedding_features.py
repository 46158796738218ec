"""``python -m lab.report.embedding_features FOLDER…``: what embeddings gain over seeds.

Reads the ``embedding_features.csv`` of the finished runs under each folder.
"""

import argparse
import csv
import sys
from collections import defaultdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lab.errors import RunFolderError, UserError
from lab.interpret.embedding_features import NAME
from lab.interpret.findings import FOLDER
from lab.printable import as_cell, printable
from lab.report.collect import Run, collect, varying_keys
from lab.report.rows import Spread

FILE = f"{FOLDER}/{NAME}.csv"
METRICS = ("mae", "rmsle", "rmse")
Variant = tuple[str, ...]
Key = tuple[Variant, str, str]  # variant, model, features


def read_scores(runs: list[Run]) -> tuple[list[str], dict[Key, dict[str, list[float]]]]:
    """By which settings the runs differ, and each metric's values, in the order of the runs.

    Raises:
        RunFolderError: no finished run has test scores.
    """
    runs = [r for r in runs if r.record.status == "done" and (r.folder / FILE).is_file()]
    keys = [key for key in varying_keys(runs) if key != "interpret.embedding_features.seed"]
    values: dict[Key, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        variant = tuple(str(run.settings.get(key, "")) for key in keys)
        with (run.folder / FILE).open(encoding="utf-8") as file:
            for row in csv.DictReader(file):
                for metric in METRICS:
                    if row[metric]:
                        cell = values[variant, row["model"], row["features"]]
                        cell[metric].append(float(row[metric]))
    if not values:
        raise RunFolderError(f"no finished run with test scores in {FILE}")
    return keys, values


def gain(values: dict[Key, dict[str, list[float]]], key: Key, metric: str) -> Spread:
    """By what share ``metric`` is below that of the embeddings' rival ``key``, run by run, in %."""
    variant, model, _ = key
    pairs = zip(values[variant, model, "embeddings"][metric], values[key][metric], strict=True)
    return Spread.of([100 * (1 - learned / given) for learned, given in pairs])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m lab.report.embedding_features",
        description="Errors of other models, mean ± std over seeds, and what embeddings take off.",
    )
    parser.add_argument("folders", nargs="+", type=Path)
    options = parser.parse_args(arguments)
    try:
        keys, values = read_scores(collect(options.folders))
    except UserError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)  # noqa: T201
        return 2
    table = Table(caption="Δ: what embeddings change in this row's error", caption_justify="left")
    for name in (*keys, "model", "features", *METRICS, "n", "Δ mae", "Δ rmsle"):
        table.add_column(as_cell(name), no_wrap=True)
    for key in sorted(values, key=lambda k: k[:2]):
        spreads = [Spread.of(values[key][metric]) for metric in METRICS]
        rival = key[2] != "embeddings"
        gains = [f"{-gain(values, key, m).mean:+.1f} %" if rival else "" for m in METRICS[:2]]
        cells = [f"{s.mean:.{d}f} ± {s.std:.{d}f}" for s, d in zip(spreads, (2, 3, 2), strict=True)]
        table.add_row(*map(as_cell, (*key[0], *key[1:])), *cells, str(spreads[0].n), *gains)
    Console(width=max(Console().width, 120)).print(table)  # wrapped numbers cannot be read
    return 0


if __name__ == "__main__":
    sys.exit(main())
