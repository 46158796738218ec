"""Parts that the notebooks share: a clean start, commands in cells, results as DataFrames."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import torch

from ablab.report.forms.cells import columns_of
from ablab.report.table.tables import ReportTable
from ablab.runs.find import newest_run
from ablab.runs.record import RunRecord


def begin(number: int) -> Path:
    """Go to the repository's root; return the folder of this notebook's runs, without old ones."""
    if not Path("train.py").exists():
        os.chdir("..")
    os.environ.pop("FORCE_COLOR", None)  # the kernel's: commands would take a cell for a terminal
    torch.set_num_threads(1)  # steps this small are slower on two
    pl.Config(
        tbl_rows=30,
        fmt_str_lengths=60,
        float_precision=3,
        thousands_separator=",",
        tbl_hide_dataframe_shape=True,
        tbl_hide_column_data_types=True,
    )
    runs = Path(f"runs/notebook_{number:02}")
    shutil.rmtree(runs, ignore_errors=True)
    return runs


def train(overrides: str, runs: Path) -> Path:
    """Run ``python train.py`` with these words and ``paths.runs``; return the newest run.

    Raises:
        RuntimeError: it failed; its output is the message.
    """
    command = [sys.executable, "train.py", *overrides.split(), f"paths.runs={runs}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return newest_run(runs)


def scores(run: Path) -> pl.DataFrame:
    """Return the test metrics of a run and of its baselines, a row each."""
    record = RunRecord.read(run)
    name = record.config["model"]["_target_"].rpartition(".")[2]
    rows = {name: record.metrics["test"], **record.baselines}
    return pl.DataFrame([{"on the test part": name, **found} for name, found in rows.items()])


def frame(table: ReportTable) -> pl.DataFrame:
    """Return a report's table without its costs; ≈ marks what is not separable from the best."""
    columns = [column for column in columns_of(table) if column.kind != "cost"]
    return pl.DataFrame(
        {c.heading: [c.marked(index) for index in range(len(c.cells))] for c in columns}
    )
