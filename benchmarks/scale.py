"""``python -m benchmarks.scale``: CollabFilter as the ratings grow from 100,000 to 25 million.

For each size, in a process of its own: processor seconds an epoch with one thread, and peak memory,
of dense steps with batches in proportion to the data, of sparse steps, and of dense steps with the
lesson's batches of 64, which take hours and are told from a few. Beside each stands the time in
which memory could move the bytes that such an epoch must move, at the bandwidth of a copy here.
"""

import argparse
import csv
import dataclasses
import io
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from ablab.runs.record import peak_memory
from ablab.safety.atomic_files import atomic_write
from benchmarks.arguments import count

FACTORS = 40
SHAPES = {  # millions of ratings -> users, items: those of MovieLens-100K, -1M, -10M and -25M
    0.1: (943, 1_682),
    1.0: (6_040, 3_706),
    10.0: (69_878, 10_677),
    25.0: (162_541, 59_047),
}
_TEST_FRACTION = 0.1
# fp32, for each rating two rows of factors and bias, read and written, and the rating itself
_ROW_BYTES = 2 * 2 * 4 * (FACTORS + 1) + 12
_ACCUMULATOR_BYTES = 2 * 2 * 2 * 4  # row-wise AdaGrad's, of two tables of factors and two of biases
_ADAM_BYTES = 28  # a parameter and a step: weight and two moments read and written, gradient read


@dataclass(frozen=True)
class Way:
    """How an epoch is trained; ``steps`` is None for a whole one."""

    name: str
    sparse: bool
    batch_size: int
    steps: int | None = None


@dataclass(frozen=True)
class Measured:
    """One epoch: bytes at the peak, beyond those of imported libraries; rows of the training part;
    parameters of the model."""

    seconds: float
    peak: int
    rows: int
    parameters: int


@dataclass(frozen=True)
class Row:
    """Of a size and a way: medians over the rounds, and the limit by memory bandwidth."""

    millions: float
    way: Way
    seconds: float
    fastest: float
    slowest: float
    ratings_per_second: float
    peak_mb: float
    limit_seconds: float


def ways(millions: float) -> list[Way]:
    return [
        Way("dense Adam", False, max(64, round(65_536 * millions / 25))),
        Way("sparse AdaGrad", True, 8_192 if millions >= 1 else 512),
        Way("dense Adam", False, 64, 2_000 if millions <= 1 else 40),
    ]


def bytes_an_epoch(way: Way, rows: int, parameters: int) -> int:
    """What must pass between memory and processor, were nothing in a cache (Roofline's traffic)."""
    if way.sparse:
        return rows * (_ROW_BYTES + _ACCUMULATOR_BYTES)
    steps = -(-rows // way.batch_size)
    return rows * _ROW_BYTES + steps * parameters * _ADAM_BYTES


def copy_bandwidth(megabytes: int = 256, times: int = 10) -> float:
    """Bytes a second, read and written, of the fastest of some copies (STREAM's Copy)."""
    source = np.ones(megabytes * 2**20 // 8)
    target = np.zeros_like(source)
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        np.copyto(target, source)
        seconds.append(time.perf_counter() - started)
    return 2 * source.nbytes / min(seconds)


def measure(millions: float, way: Way, root: Path) -> Measured:
    """In a process of its own."""
    case = {"millions": millions, "root": str(root), "way": dataclasses.asdict(way)}
    command = [sys.executable, "-W", "ignore", "-m", __spec__.name, "--case", json.dumps(case)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, stdout=subprocess.PIPE, env=environment, text=True, check=True)
    return Measured(**json.loads(ended.stdout.splitlines()[-1]))


def _run_case(millions: float, way: Way, root: Path) -> Measured:
    import torch
    from lightning.pytorch import Callback, LightningModule, Trainer

    from ablab.config.schema import Adam, Constant, Optim, RowwiseAdagrad, WeightDecay
    from ablab.runs.checkpoints import Progress
    from ablab.training.phases import PhasePlan, StepPlan
    from lesson5.ratings.collab_filter import CollabFilter
    from lesson5.ratings.large_synthetic import LargeSyntheticRatings

    class Clock(Callback):
        seconds = 0.0

        def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            self.seconds -= time.process_time()

        def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            self.seconds += time.process_time()

    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    imported = peak_memory()
    torch.set_num_threads(1)
    users, items = SHAPES[millions]
    data = LargeSyntheticRatings(
        root=str(root),
        n_users=users,
        n_items=items,
        n_ratings=round(millions * 1e6),
        test_fraction=_TEST_FRACTION,
        validation_fraction=0.0,
        batch_size=way.batch_size,
        eval_batch_size=65_536,
        split_seed=42,
        order_seed=0,
    )
    data.prepare_data()
    data.setup("fit")
    rows = len(data.parts["train"][-1])
    torch.manual_seed(0)
    sizes = data.sizes
    model = CollabFilter(sizes["n_users"], sizes["n_items"], n_factors=FACTORS, sparse=way.sparse)
    model.prepare_training(loss=torch.nn.MSELoss(), metrics={}, order_seed=0)
    decay = WeightDecay(mode="independent", value=1e-4)
    optim: Optim = Adam(name="adam", lr=5e-3, weight_decay=decay)
    if way.sparse:
        optim = RowwiseAdagrad(name="rowwise_adagrad", lr=0.1, weight_decay=decay)
    steps = StepPlan(steps_per_execution=32)
    data.batches_per_execution = steps.batches_per_execution
    plan = PhasePlan("fit", None, 0, True, optim, Constant(name="constant"), steps)
    model.begin_phase(plan, Progress())
    clock = Clock()
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        limit_train_batches=way.steps,
        limit_val_batches=0,
        callbacks=[clock],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, datamodule=data)
    seconds = clock.seconds / trainer.global_step * -(-rows // way.batch_size)
    parameters = sum(p.numel() for p in model.parameters())
    return Measured(seconds, peak_memory() - imported, rows, parameters)


def _rows(sizes: list[float], rounds: int, root: Path, bandwidth: float) -> Iterator[Row]:
    cases = [(millions, way) for millions in sizes for way in ways(millions)]
    found: dict[tuple[float, Way], list[Measured]] = defaultdict(list)
    for millions in sizes:  # draws the data, which then are read
        measure(millions, Way("to draw the data", True, 8_192, 1), root)
    for _ in range(rounds):
        for case in cases:
            found[case].append(measure(*case, root))
    for (millions, way), runs in found.items():
        seconds = [run.seconds for run in runs]
        median = statistics.median(seconds)
        moved = bytes_an_epoch(way, runs[0].rows, runs[0].parameters)
        yield Row(
            millions,
            way,
            median,
            min(seconds),
            max(seconds),
            runs[0].rows / median,
            max(run.peak for run in runs) / 1e6,
            moved / bandwidth,
        )


_COLUMNS = (
    "M ratings",
    "steps",
    "batch",
    "s/epoch",
    "spread",
    "ratings/s",
    "MB",
    "limit s",
    "× limit",
)


def _number(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def _cells(row: Row) -> list[str]:
    told = "≈ " if row.way.steps is not None else ""
    return [
        f"{row.millions:g}",
        row.way.name,
        f"{row.way.batch_size:,}",
        f"{told}{_number(row.seconds)}",
        f"{_number(row.fastest)}–{_number(row.slowest)}",
        f"{row.ratings_per_second:,.0f}",
        f"{row.peak_mb:,.0f}",
        _number(row.limit_seconds),
        f"{row.seconds / row.limit_seconds:.1f}",
    ]


def _write(rows: list[Row], title: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"{title}\n", "| " + " | ".join(_COLUMNS) + " |", "|" + "---|" * len(_COLUMNS)]
    lines += ["| " + " | ".join(_cells(row)) + " |" for row in rows]
    with atomic_write(folder / "scale.md") as file:
        file.write(("\n".join(lines) + "\n").encode())
    text = io.StringIO()
    records: list[dict[str, Any]] = [
        {**dataclasses.asdict(row), **{f"way_{k}": v for k, v in vars(row.way).items()}}
        for row in rows
    ]
    for record in records:
        del record["way"]
    writer = csv.DictWriter(text, list(records[0]))
    writer.writeheader()
    writer.writerows(records)
    with atomic_write(folder / "scale.csv") as file:
        file.write(text.getvalue().encode())


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument(
        "--sizes", default="0.1,1,10,25", help="millions of ratings, of " + str(sorted(SHAPES))
    )
    parser.add_argument("--rounds", type=count, metavar="N", default=3)
    parser.add_argument("--data", type=Path, help="folder of the ratings; none: a temporary one")
    parser.add_argument("--out", type=Path, default=Path("runs/bench/scale"))
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.case:
        case = json.loads(options.case)
        measured = _run_case(case["millions"], Way(**case["way"]), Path(case["root"]))
        print(json.dumps(dataclasses.asdict(measured)))  # noqa: T201
        return 0
    known = {f"{size:g}": size for size in SHAPES}
    unknown = [size for size in options.sizes.split(",") if size not in known]
    if unknown:
        parser.error(f"--sizes: are of {', '.join(known)}, not {', '.join(unknown)}")
    sizes = [known[size] for size in options.sizes.split(",")]
    bandwidth = copy_bandwidth()
    with tempfile.TemporaryDirectory() as temporary:
        rows = list(_rows(sizes, options.rounds, options.data or Path(temporary), bandwidth))
    title = (
        f"{FACTORS} factors, one thread, {options.rounds} interleaved rounds; a copy moves "
        f"{bandwidth / 1e9:.1f} GB/s; memory beyond imported libraries; ≈: from a part of an epoch"
    )
    table = Table(title=title)
    for name in _COLUMNS:
        table.add_column(name, justify="left" if name == "steps" else "right", no_wrap=True)
    for row in rows:
        table.add_row(*_cells(row))
    console = Console()
    Console(width=max(console.width, 112)).print(table)
    _write(rows, title, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
