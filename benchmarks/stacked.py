"""``python -m benchmarks.stacked``: plans of small runs, stacked against one after the other.

Each plan is run whole, in processes of its own with one thread, each way in turn. Processor time is
measured beside the wall clock, which other programs on the machine change. Nobody needs to wait for
all serial runs: with ``--alone N`` that many of the jobs and one of them are run one after the
other, and the time of all is reckoned from the difference.
"""

import argparse
import dataclasses
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ablab import project
from benchmarks.arguments import count
from benchmarks.rounds import Range
from benchmarks.suite import HAND, TRAIN_FILE, other, prepared

_SEEDS = 5
_SHARED = ("logger=csv", "interpret=none", "trainer.accelerator=cpu")
PLANS = {"mnist_logistic": 100, "mnist_nn": 50, "collab": 50, "bikeshare": 50}  # and their jobs
Seconds = tuple[float, float]  # of the wall clock and of the processor


def jobs(plan: str, members: int, data: Path, others: Sequence[str]) -> list[str]:
    """Return the words that describe a plan: settings of rate and decay, times five seeds."""
    seeds = min(members, _SEEDS)
    rates = ",".join(f"{1e-3 * 1.02**number:.6f}" for number in range(members // seeds))
    return [
        *("-m", f"experiment={plan}", *_SHARED, f"paths.data={data.resolve()}"),
        *(f"optim.lr={rates}", f"seed={','.join(map(str, range(seeds)))}", *others),
    ]


def measure(words: Sequence[str], folder: Path) -> Seconds:
    """Run Python with ``words`` in ``folder``; return the seconds that it took.

    Raises:
        ChildProcessError: it did not come to its end.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(TRAIN_FILE.parent)}
    started = time.perf_counter()
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *words], cwd=folder, stdout=output, stderr=output, env=environment
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise ChildProcessError((folder / "output").read_text())
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime


def _in_folder(run: Callable[[Path], Seconds]) -> Seconds:
    folder = Path(tempfile.mkdtemp())
    try:
        return run(folder)
    finally:
        shutil.rmtree(folder)


class Plan:
    """A plan of so many ``members``, and the ways to run it."""

    def __init__(self, name: str, members: int, options: argparse.Namespace) -> None:
        self.name, self.members, self.options = name, members, options

    def stacked(self) -> Seconds:
        return self._launched("stacked", self.members)

    def serial(self) -> Seconds:
        return self._reckoned(lambda members: self._launched("serial", members))

    def by_hand(self) -> Seconds:
        """Run as many bare loops, in one process."""
        return self._reckoned(self._by_hand)

    def _reckoned(self, run: Callable[[int], Seconds]) -> Seconds:
        some = min(self.options.alone or self.members, self.members)
        found = run(some)
        if some == self.members:
            return found
        left = (self.members - some) / (some - 1)
        wall, cpu = (a + (a - b) * left for a, b in zip(found, run(1), strict=True))
        return wall, cpu

    def _by_hand(self, members: int) -> Seconds:
        def run(folder: Path) -> Seconds:
            words = [f"paths.data={self.options.data.resolve()}", *self.options.set]
            task = prepared(self.name, words, folder)
            contender = other(HAND, "hand_loop", dataclasses.replace(task, repeats=members))
            return measure(contender.command(folder / "by_hand", 0), folder)

        return _in_folder(run)

    def _launched(self, launcher: str, members: int) -> Seconds:
        words = jobs(self.name, members, self.options.data, self.options.set)
        command = [str(TRAIN_FILE), *words, f"hydra/launcher={launcher}"]
        return _in_folder(lambda folder: measure(command, folder))


def _several(text: str) -> int:
    if (number := count(text)) < 2:
        raise argparse.ArgumentTypeError("should be 2 or more, since one is run beside them")
    return number


def _shown(plan: Plan, rounds: list[dict[str, Seconds]], table: Table) -> None:
    """Add a row for each way; a ratio is of two times of the same round."""
    for way in rounds[0]:
        row = [plan.name, str(plan.members), way]
        row += [Range.of([r[way][clock] for r in rounds]).shown(1) for clock in (0, 1)]
        for reference in ("serial", "by hand"):
            if reference in rounds[0]:
                ratios = [r[way][1] / r[reference][1] for r in rounds]
                row.append(Range.of(ratios).shown(2))
            else:
                row.append("")
        table.add_row(*row)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stacked", description=__doc__)
    parser.add_argument("plans", nargs="*", default=list(PLANS), choices=PLANS)
    parser.add_argument("--data", type=Path, default=TRAIN_FILE.parent / "data")
    parser.add_argument("--rounds", type=count, default=1)
    parser.add_argument("--members", help="jobs of a plan: 1,5,10,50")
    parser.add_argument("--alone", type=_several, help="jobs that are run one after the other")
    parser.add_argument("--stacked-only", action="store_true", help="how the price of one grows")
    parser.add_argument("--by-hand", action="store_true", help="as many bare loops, too")
    parser.add_argument("--set", action="append", default=[], help="another override of each job")
    options = parser.parse_args(arguments)
    project.use(TRAIN_FILE)
    table = Table(title="median (least to greatest); ratios of processor time")
    for name in ("plan", "jobs", "way"):
        table.add_column(name)
    for name in ("wall s", "CPU s", "of serial", "of by hand"):
        table.add_column(name, justify="right")
    for name in options.plans:
        for members in map(int, (options.members or str(PLANS[name])).split(",")):
            plan = Plan(name, members, options)
            ways = {"stacked": plan.stacked}
            if not options.stacked_only:
                ways["serial"] = plan.serial
            if options.by_hand:
                ways["by hand"] = plan.by_hand
            rounds = [{way: run() for way, run in ways.items()} for _ in range(options.rounds)]
            _shown(plan, rounds, table)
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
