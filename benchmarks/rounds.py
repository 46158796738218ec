"""Run contenders in turns as whole processes, and read their run records."""

import os
import pty
import re
import statistics
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ablab.errors import UserError
from ablab.runs.record import FILE_NAME, RunRecord

_TERMINAL = (40, 120)  # lines, columns


@dataclass(frozen=True)
class Contender:
    """A way to train; ``command`` returns Python's arguments for a folder and a seed.

    ``needs`` names a package that may be missing.
    """

    name: str
    command: Callable[[Path, int], list[str]]
    needs: str | None = None


@dataclass(frozen=True)
class Measured:
    """Measurements of one process: seconds of the fit and in all, peak MiB, the test metric.

    For a plan, which is many fits, all its seconds count as the fit's, and metrics are averaged.
    """

    fit: float
    process: float
    memory: float
    test: float
    steps: int
    epochs: int


def run_in_turns(
    contenders: list[Contender],
    rounds: int,
    folder: Path,
    metric: str,
    say: Callable[[str], None],
) -> dict[str, list[Measured]]:
    """Run every contender once a round, with the number of the round as seed.

    Returns:
        The measurements of each contender, by its name.

    Raises:
        UserError: a process failed; the message holds the end of its output.
    """
    measured: dict[str, list[Measured]] = {contender.name: [] for contender in contenders}
    for number in range(rounds):
        for contender in contenders:
            place = folder / f"round_{number + 1}" / re.sub(r"\W+", "_", contender.name)
            command = [sys.executable, *contender.command(place, number)]
            seconds = on_a_terminal(command, place.with_suffix(".log"))
            found = read(place, seconds, metric)
            measured[contender.name].append(found)
            say(
                f"round {number + 1}/{rounds}  {contender.name}: fit {found.fit:.2f} s, "
                f"process {found.process:.1f} s, test {metric} {found.test:.4f}"
            )
    return measured


def on_a_terminal(command: list[str], log: Path) -> float:
    """Run a command on a pseudo-terminal, as users do; return its seconds.

    Raises:
        UserError: the command failed.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    ours, its = pty.openpty()
    termios.tcsetwinsize(its, _TERMINAL)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TERM": "xterm-256color"}
    started = time.perf_counter()
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=its, stderr=its, env=environment
        )
        os.close(its)
        try:
            while text := _read(ours):
                file.write(text)
            process.wait()
        finally:
            process.kill()
            process.wait()
            os.close(ours)
    if process.returncode != 0:
        end = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise UserError(f"{' '.join(command)}\nended with {process.returncode}:\n{end}")
    return time.perf_counter() - started


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 2**16)
    except OSError:  # Linux raises this when the last writer has closed
        return b""


def read(folder: Path, seconds: float, metric: str) -> Measured:
    """Return the measurements of the run or plan in ``folder``; its process took ``seconds``."""
    if (folder / FILE_NAME).is_file():
        record = RunRecord.read(folder)
        return _measured([record], record.seconds["fit"], seconds, metric)
    records = [RunRecord.read(path.parent) for path in sorted(folder.glob(f"*/{FILE_NAME}"))]
    return _measured(records, seconds, seconds, metric)


def _measured(records: list[RunRecord], fit: float, process: float, metric: str) -> Measured:
    return Measured(
        fit=fit,
        process=process,
        memory=max(record.peak_memory or 0.0 for record in records),
        test=statistics.mean(record.metrics["test"][metric] for record in records),
        steps=sum(record.steps or 0 for record in records),
        epochs=sum(record.epochs or 0 for record in records),
    )


@dataclass(frozen=True)
class Range:
    """The median, least and greatest of several values."""

    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: list[float]) -> "Range":
        return cls(statistics.median(values), min(values), max(values))

    def shown(self, digits: int) -> str:
        median, least, greatest = (
            f"{value:,.{digits}f}" for value in (self.median, self.least, self.greatest)
        )
        return median if least == greatest else f"{median} ({least} to {greatest})"


def ratios(measured: Mapping[str, list[Measured]], name: str, reference: str) -> Range:
    """Return the ratios of fit times of ``name`` to ``reference``, each within one round."""
    pairs = zip(measured[name], measured[reference], strict=True)
    return Range.of([own.fit / other.fit for own, other in pairs])
