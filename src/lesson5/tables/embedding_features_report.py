"""``python -m lesson5.tables.embedding_features_report FOLDER…``: what embeddings gain, over seeds.

The command reads the ``embedding_features.csv`` of the finished runs under each folder.
"""

import argparse
import csv
import sys
from collections import defaultdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ablab.errors import RunFolderError
from ablab.findings import FOLDER
from ablab.report.table.collect import RecordedRun, collect, varying_keys
from ablab.report.table.rows import Spread
from ablab.safety.commands import as_command
from ablab.safety.printable import as_cell
from lesson5.tables.interpret.embedding_features import NAME

FILE = f"{FOLDER}/{NAME}.csv"
METRICS = ("mae", "rmsle", "rmse")
Variant = tuple[str, ...]
Key = tuple[Variant, str, str]  # variant, model, features


def read_scores(runs: list[RecordedRun]) -> tuple[list[str], dict[Key, dict[str, list[float]]]]:
    """Return the settings in which the runs differ, and each metric's values in the runs' order.

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
        raise RunFolderError(f"no finished run has test scores in {FILE}")
    return keys, values


def gain(values: dict[Key, dict[str, list[float]]], key: Key, metric: str) -> Spread:
    """Return by how many percent embeddings lower ``metric`` below that of ``key``, run by run."""
    variant, model, _ = key
    pairs = zip(values[variant, model, "embeddings"][metric], values[key][metric], strict=True)
    return Spread.of([100 * (1 - learned / given) for learned, given in pairs])


@as_command
def main(arguments: list[str]) -> int:
    """Print the table of all runs; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m lesson5.tables.embedding_features_report",
        description="Print the errors of other models, mean ± std over seeds, and by how much "
        "embeddings lower them.",
    )
    parser.add_argument("folders", nargs="+", type=Path)
    options = parser.parse_args(arguments)
    keys, values = read_scores(collect(options.folders))
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
