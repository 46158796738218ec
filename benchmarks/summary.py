"""The table of a comparison: medians over rounds, times and ratios with their range."""

import csv
import dataclasses
import io
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from ablab.safety.atomic_files import atomic_write
from benchmarks.picture import bars
from benchmarks.rounds import Measured, Range, ratios
from benchmarks.suite import Benchmark


@dataclass(frozen=True)
class Summary:
    """The results of a comparison, by contender."""

    comparison: Benchmark
    measured: Mapping[str, list[Measured]]

    def heads(self) -> list[str]:
        by_reference = [f"× {reference}" for reference in self._references()]
        metric = f"test {self.comparison.metric}"
        return ["", "fit, s", "s/epoch", "ms/step", *by_reference, "process, s", "MiB", metric]

    def rows(self) -> list[list[str]]:
        return [self._row(name, runs) for name, runs in self.measured.items()]

    def _row(self, name: str, runs: list[Measured]) -> list[str]:
        def median(of: list[float], digits: int) -> str:
            return f"{statistics.median(of):,.{digits}f}"

        in_steps = runs[0].steps > 0
        return [
            name,
            Range.of([r.fit for r in runs]).shown(2),
            median([r.fit / r.epochs for r in runs], 3) if in_steps else "",
            median([1e3 * r.fit / r.steps for r in runs], 2) if in_steps else "",
            *(ratios(self.measured, name, other).shown(2) for other in self._references()),
            median([r.process for r in runs], 1),
            median([r.memory for r in runs], 0),
            median([r.test for r in runs], 4),
        ]

    def _references(self) -> list[str]:
        return [name for name in self.comparison.references if name in self.measured]

    def table(self) -> Table:
        n = len(next(iter(self.measured.values())))
        table = Table(title=f"{self.comparison.title}; {n} rounds", title_justify="left")
        for number, head in enumerate(self.heads()):
            table.add_column(head, justify="right" if number else "left")
        for row in self.rows():
            table.add_row(*row)
        return table

    def write(self, folder: Path) -> None:
        """Write ``table.md``, ``times.svg``, and ``measured.csv`` with a line for each process."""
        heads = self.heads()
        lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *self.rows()]
        text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        with atomic_write(folder / "table.md") as file:
            file.write(f"{self.comparison.title}\n\n{text}\n".encode())
        numbers = io.StringIO()
        names = ["contender", "round", *(f.name for f in dataclasses.fields(Measured))]
        writer = csv.DictWriter(numbers, names)
        writer.writeheader()
        for name, runs in self.measured.items():
            for number, run in enumerate(runs, 1):
                writer.writerow({"contender": name, "round": number, **dataclasses.asdict(run)})
        with atomic_write(folder / "measured.csv") as file:
            file.write(numbers.getvalue().encode())
        with atomic_write(folder / "times.svg") as file:
            bars(self.comparison.title, self.measured).savefig(file, format="svg")
