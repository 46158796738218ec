"""``python -m benchmarks.stacked``: plans of small runs, stacked against one after the other.

Each plan is run whole, in processes of its own, in turn by each launcher. Processor time is
measured beside the wall clock, which other programs on the machine change.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
_SHARED = ("logger=csv", "interpret=none", "trainer.accelerator=cpu")
PLANS = {  # name: experiment, and the rates and decays of its plan
    "mnist_logistic": ("1e-3,3e-3,1e-2,3e-2", "0,0.01,0.1,0.3,1"),
    "mnist_nn": ("3e-3,1e-2", "0.1,0.3,0.6,1,2"),
    "collab": ("3e-3,5e-3", "0.03,0.1,0.2,0.3,0.5"),
    "bikeshare": ("5e-3,1e-2", "0.01,0.03,0.1,0.3,1"),
}
LAUNCHERS = ("serial", "stacked")


def overrides(plan: str, seeds: int, data: Path, others: Sequence[str]) -> list[str]:
    """Return the words that describe a plan: ten or twenty settings, times the seeds."""
    rates, decays = PLANS[plan]
    return [
        *("-m", f"experiment={plan}", *_SHARED, f"paths.data={data.resolve()}"),
        *(f"optim.lr={rates}", f"optim.weight_decay.value={decays}"),
        f"seed={','.join(map(str, range(seeds)))}",
        *others,
    ]


def measure(words: Sequence[str], launcher: str) -> tuple[float, float]:
    """Run a plan; return the seconds of the wall clock and of the processor.

    Raises:
        ChildProcessError: it did not come to its end.
    """
    folder = Path(tempfile.mkdtemp())
    try:
        command = [sys.executable, str(ROOT / "train.py"), *words, f"hydra/launcher={launcher}"]
        started = time.perf_counter()
        with (folder / "output").open("wb") as output:
            process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
            _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise ChildProcessError((folder / "output").read_text())
        return time.perf_counter() - started, usage.ru_utime + usage.ru_stime
    finally:
        shutil.rmtree(folder)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stacked", description=__doc__)
    parser.add_argument("plans", nargs="*", default=list(PLANS), choices=PLANS)
    parser.add_argument("--data", type=Path, default=ROOT / "data")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], help="another override of each job")
    options = parser.parse_args(arguments)
    table = Table()
    for name in (
        "plan",
        "jobs",
        "launcher",
        "wall s",
        "CPU s",
        "of serial, wall",
        "of serial, CPU",
    ):
        table.add_column(name, justify="left" if name in ("plan", "launcher") else "right")
    for plan in options.plans:
        rates, decays = (len(values.split(",")) for values in PLANS[plan])
        words = overrides(plan, options.seeds, options.data, options.set)
        found: dict[str, list[tuple[float, float]]] = {launcher: [] for launcher in LAUNCHERS}
        for _ in range(options.rounds):
            for launcher in LAUNCHERS:
                found[launcher].append(measure(words, launcher))
        best = {
            name: [min(column) for column in zip(*of, strict=True)] for name, of in found.items()
        }
        for launcher, (wall, cpu) in best.items():
            ratios = [f"{a / b:.2f}" for a, b in zip((wall, cpu), best["serial"], strict=True)]
            jobs = str(rates * decays * options.seeds)
            table.add_row(plan, jobs, launcher, f"{wall:.1f}", f"{cpu:.1f}", *ratios)
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
