"""``python -m benchmarks.scale``: what plans of 100, 1,000 and 10,000 jobs cost beside training.

Each command is a process of its own, whose wall-clock time, processor time and largest memory are
measured. Jobs are not trained: in the sweep that is measured, a launcher of this file writes what
a finished run leaves, with the code that writes records and histories.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
SEEDS, DECAYS, EPOCHS = 5, 10, 20
FOLDER = Path("plan")


@dataclass(frozen=True)
class Cost:
    """What a command took: seconds of the wall clock and of the processor, and MiB."""

    wall: float
    cpu: float
    memory: float


def overrides(jobs: int) -> list[str]:
    """Return the words of a plan with ``jobs`` jobs: rates × 10 decays × 5 seeds."""
    rates = [f"{1e-4 * (i + 1):.6g}" for i in range(jobs // (SEEDS * DECAYS))]
    decays = [f"{i / 100:g}" for i in range(DECAYS)]
    return [
        *("-m", "data=synthetic_ratings", "logger=csv", "interpret=none"),
        *("trainer.accelerator=cpu", f"trainer.max_epochs={EPOCHS}"),
        *(f"optim.lr={','.join(rates)}", f"optim.weight_decay.value={','.join(decays)}"),
        *(f"seed={','.join(map(str, range(SEEDS)))}", f"hydra.sweep.dir={FOLDER}"),
    ]


def finish(folder: Path) -> None:
    """Write what a finished run leaves in its folder, but for its checkpoints."""
    # The memory of a process counts for those that it starts, so the first one imports little.
    from ablab.runs.record import RunRecord, write_config
    from ablab.trackers import CSVTracker, RunInfo

    record = RunRecord.read(folder)
    record.begin()
    write_config(folder, record.config)
    optim, seed = record.config["optim"], record.config["seed"]
    best = 0.8 + abs(optim["lr"] - 0.005) + optim["weight_decay"]["value"] / 9 + seed / 100
    history = CSVTracker()
    history.attach(RunInfo(folder, name="run", group=None, tags=(), config=record.config))
    for epoch in range(EPOCHS):
        last = {"val/rmse": best + 1 / (epoch + 1), "val/loss": best, "train/loss": best}
        history.log_metrics({**last, "epoch": epoch}, 26 * (epoch + 1))
    record.metrics = {"last": last, "chosen": last, "test": {"rmse": best, "loss": best}}
    record.directions = {"rmse": "min", "loss": "min"}
    record.trackers = {"CSVTracker": {"file": "metrics.csv"}}
    record.device, record.steps, record.epochs = "cpu x 1", 26 * EPOCHS, EPOCHS
    record.seconds = {"start": 5.0, "fit": 1.0 + seed, "total": 7.0 + seed}
    record.end("done", 0)
    record.write(folder)


def run_plan(words: Sequence[str]) -> None:
    """Run ``train.py`` with ``words`` in this process; no job of it is trained."""
    from ablab.ablation.plan import sweep
    from ablab.command.main import main

    def finish_all(_: object, due: Sequence[Any], __: object) -> dict[Path, str]:
        for job in due:
            finish(job.path)
        return {}

    sweep._launch_interruptibly = finish_all
    sys.argv = ["train.py", *words]
    main(ROOT / "train.py")


def measure(command: Sequence[str], cwd: Path) -> Cost:
    """Run ``python COMMAND``. Raise ChildProcessError if it fails."""
    started = time.perf_counter()
    with (cwd / "output").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=cwd,
            stdout=output,
            stderr=output,
            env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise ChildProcessError((cwd / "output").read_text())
    wall = time.perf_counter() - started
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**10)


def commands(jobs: int) -> dict[str, list[str]]:
    """Return what is measured, in this order."""
    plan, there = overrides(jobs), str(FOLDER)
    return {
        "dry run: compose and check": [str(ROOT / "train.py"), *plan, "ablation.dry_run=true"],
        "sweep without training": ["-m", "benchmarks.scale", "--sweep", *plan],
        "the same command when all is done": [str(ROOT / "train.py"), *plan],
        "status": ["-m", "ablab", "status", there],
        "report, as text": ["-m", "ablab", "report", there],
        "report, as a page": ["-m", "ablab", "report", there, "--output", "page.html"],
    }


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["--sweep"]:
        run_plan(arguments[1:])
        return 0
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("jobs", nargs="*", type=int, default=[100, 1000, 10_000])
    options = parser.parse_args(arguments)
    table = Table()
    for name in ("jobs", "command", "wall s", "CPU s", "CPU ms a job", "MiB"):
        table.add_column(name, justify="left" if name == "command" else "right")
    for jobs in options.jobs:
        folder = Path(tempfile.mkdtemp())
        try:
            for name, words in commands(jobs).items():
                cost = measure(words, folder)
                spent = (f"{cost.wall:.1f}", f"{cost.cpu:.1f}", f"{1000 * cost.cpu / jobs:.2f}")
                table.add_row(str(jobs), name, *spent, f"{cost.memory:.0f}")
                print(jobs, name, *spent, f"{cost.memory:.0f}", file=sys.stderr)  # noqa: T201
            size = (folder / "page.html").stat().st_size / 2**20
            table.add_row(str(jobs), "size of the page", "", "", "", f"{size:.1f}")
        finally:
            shutil.rmtree(folder)
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
