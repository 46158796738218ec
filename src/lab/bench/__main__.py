"""``python -m lab.bench [COMPARISON …]``: our fit against other ways to train the same.

Each contender is a whole process, with one thread and a terminal to draw on; contenders take turns,
so that what else the machine does slows all of them alike, and each ratio is of two times of the
same round. A time is that of the fit: epochs with their validation, checkpoints, metrics and
progress bar, without imports and data. Memory is the peak of the process. What is not installed
(pip install -e .[bench]) or has no GPU here is left out, and said. Each process leaves its run
record, and the whole a table and a picture.
"""

import argparse
import importlib.util
import sys
from datetime import datetime
from pathlib import Path

from rich.console import Console

from lab.bench.arguments import count
from lab.bench.rounds import run_in_turns
from lab.bench.suite import Comparison, comparisons
from lab.bench.summary import Summary
from lab.errors import UserError
from lab.surroundings import settle_surroundings


def main(arguments: list[str] | None = None) -> int:
    import torch

    parser = argparse.ArgumentParser(
        prog="python -m lab.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("comparisons", nargs="*", metavar="COMPARISON", help="default: all")
    parser.add_argument("--rounds", type=count, metavar="N", default=5)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--out", type=Path, help="default: runs/bench/TIME")
    parser.add_argument("--list", action="store_true", help="the comparisons, and no more")
    options = parser.parse_args(arguments)
    console = Console(highlight=False)
    out = options.out or Path("runs/bench") / f"{datetime.now():%Y-%m-%d_%H-%M-%S}"
    known = comparisons(options.data.absolute(), out / "data", gpu=torch.cuda.is_available())
    if options.list:
        console.print("\n".join(known))
        return 0
    if unknown := [name for name in options.comparisons if name not in known]:
        parser.error(f"{', '.join(unknown)}: the comparisons here are {', '.join(known)}")
    if not torch.cuda.is_available():
        console.print("no CUDA device here: those on a GPU are left out")
    try:
        for name in options.comparisons or known:
            _compare(name, known[name](), options.rounds, out, console)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 2
    console.print(f"tables and run records: {out}")
    return 0


def _compare(name: str, comparison: Comparison, rounds: int, out: Path, console: Console) -> None:
    console.print(f"\n{name}: {comparison.title}")
    here = []
    for contender in comparison.contenders:
        if contender.needs is None or importlib.util.find_spec(contender.needs):
            here.append(contender)
        else:
            console.print(f"{contender.name} is not installed: pip install -e .[bench]")
    measured = run_in_turns(here, rounds, out / name, comparison.metric, console.print)
    summary = Summary(comparison, measured)
    summary.write(out / name)
    Console(width=max(console.width, 130)).print(summary.table())


if __name__ == "__main__":
    settle_surroundings()
    sys.exit(main())
