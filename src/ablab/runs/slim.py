"""``ablab slim FOLDER``: make finished runs small enough to hand on."""

import argparse
import sys
from pathlib import Path
from typing import Literal

from ablab.errors import RunFolderError, UserError
from ablab.runs.record import FILE_NAME, RunRecord
from ablab.safety.folder_lock import claimed
from ablab.safety.printable import printable

Kept = Literal["weights", "none"]


def main(arguments: list[str] | None = None) -> int:
    """Slim every finished run below a folder; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="ablab slim",
        description="Remove from finished runs what only continuing them needs. Their records, "
        "metrics and tables stay, and so do reports of them.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a run, a plan, or runs")
    parser.add_argument(
        "--keep",
        choices=("weights", "none"),
        default="weights",
        help="weights: of each run the chosen checkpoint, without the optimiser's state (test, "
        "predict and ablab.load still work); none: no checkpoint (default: weights)",
    )
    options = parser.parse_args(arguments)
    try:
        lines = slim(options.folder, options.keep)
    except UserError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)  # noqa: T201
        return error.exit_status
    for line in lines:
        print(printable(line))  # noqa: T201
    return 0


def slim(folder: Path, keep: Kept) -> list[str]:
    """Slim the finished runs below ``folder``; return a line for each run that was left as it is,
    and a last one that says how much was removed.

    Raises:
        RunFolderError: there is no run.
        CheckpointError: the chosen checkpoint of a run is damaged; that run is left as it is.
    """
    runs = sorted(path.parent for path in folder.rglob(FILE_NAME))
    if not runs:
        raise RunFolderError(f"{folder}: no run.json is there, nor in a folder below it")
    lines, removed, slimmed = [], 0, 0
    for run in runs:
        record = RunRecord.read(run)
        if record.status != "done":
            lines.append(f"{run}: {record.status}, left as it is")
            continue
        with claimed(run):
            removed += _slim_run(run, record, keep)
        slimmed += 1
    return [*lines, f"{slimmed} runs slimmed, {removed / 2**20:.1f} MiB removed"]


def _slim_run(run: Path, record: RunRecord, keep: Kept) -> int:
    """Return the bytes that were removed."""
    from ablab.runs.checkpoints import Manifest  # imports torch

    manifest = Manifest(run / "checkpoints")
    entries = manifest.entries()
    before = sum((manifest.folder / entry.file).stat().st_size for entry in entries)
    chosen = [entry for entry in entries if entry.file == record.checkpoints.get("chosen")]
    if keep == "weights" and chosen:
        manifest.keep_weights(chosen[0])
    else:
        manifest.keep_none()
    record.checkpoints = {**record.checkpoints, "kept": keep}
    record.write(run)
    left = sum((manifest.folder / entry.file).stat().st_size for entry in manifest.entries())
    return before - left
