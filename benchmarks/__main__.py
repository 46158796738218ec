"""``python -m benchmarks [COMPARISON …]``: compare our fit with other ways to train the same model.

Each contender is a process of its own, with one thread and a terminal to draw on. Contenders take
turns, so that other load on the machine slows all of them alike, and each ratio is of two times of
the same round. The time is that of the fit: epochs with validation, checkpoints, metrics and
progress bar, without imports and data. Memory is the peak of the process. A contender that is not
installed (pip install -e .[bench]) or needs a GPU is left out with a message. Each process writes
its run record; each comparison writes a table and a picture.
"""

import argparse
import importlib.util
import sys
from datetime import datetime
from pathlib import Path

from rich.console import Console

from ablab import project
from ablab.errors import UserError
from ablab.safety.streams import prepare_streams
from benchmarks.arguments import count
from benchmarks.rounds import run_in_turns
from benchmarks.suite import TRAIN_FILE, Benchmark, comparisons
from benchmarks.summary import Summary


def main(arguments: list[str] | None = None) -> int:
    """Run the comparisons; return the exit status."""
    import torch

    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("comparisons", nargs="*", metavar="COMPARISON", help="default: all")
    parser.add_argument("--rounds", type=count, metavar="N", default=5)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--out", type=Path, help="default: runs/bench/TIME")
    parser.add_argument("--list", action="store_true", help="print the names of the comparisons")
    options = parser.parse_args(arguments)
    project.use(TRAIN_FILE)
    console = Console(highlight=False)
    out = options.out or Path("runs/bench") / f"{datetime.now():%Y-%m-%d_%H-%M-%S}"
    known = comparisons(options.data.absolute(), out / "data", gpu=torch.cuda.is_available())
    if options.list:
        console.print("\n".join(known))
        return 0
    if unknown := [name for name in options.comparisons if name not in known]:
        parser.error(f"{', '.join(unknown)}: the comparisons here are {', '.join(known)}")
    if not torch.cuda.is_available():
        console.print("There is no CUDA device, so the comparisons on a GPU are left out.")
    try:
        for name in options.comparisons or known:
            _compare(name, known[name](), options.rounds, out, console)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 2
    console.print(f"tables and run records: {out}")
    return 0


def _compare(name: str, comparison: Benchmark, rounds: int, out: Path, console: Console) -> None:
    console.print(f"\n{name}: {comparison.title}")
    here = []
    for contender in comparison.contenders:
        if contender.needs is None or importlib.util.find_spec(contender.needs):
            here.append(contender)
        else:
            message = "is left out, since it is not installed: pip install -e .[bench]"
            console.print(f"{contender.name} {message}")
    measured = run_in_turns(here, rounds, out / name, comparison.metric, console.print)
    summary = Summary(comparison, measured)
    summary.write(out / name)
    Console(width=max(console.width, 130)).print(summary.table())


if __name__ == "__main__":
    prepare_streams()
    sys.exit(main())
