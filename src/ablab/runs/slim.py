"""``ablab slim FOLDER``: make finished runs small enough to hand on."""

import argparse
from pathlib import Path
from typing import Literal

from ablab.errors import CheckpointError, RunFolderError
from ablab.runs.record import FILE_NAME, RunRecord
from ablab.safety.commands import as_command
from ablab.safety.folder_lock import locked, refuse_links
from ablab.safety.printable import printable

Kept = Literal["weights", "none"]


@as_command
def main(arguments: list[str]) -> int:
    """Slim every finished run below a folder; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="ablab slim",
        description="Remove from finished runs what is only needed to continue them. Records, "
        "metrics and tables stay, so reports of the runs stay the same.",
    )
    parser.add_argument(
        "folder", type=Path, metavar="FOLDER", help="a run, a plan, or a folder of runs"
    )
    parser.add_argument(
        "--keep",
        choices=("weights", "none"),
        default="weights",
        help="weights: keep the weights of the chosen checkpoint, without the optimiser's state "
        "(test, predict and ablab.load still work); none: keep no checkpoint (default: weights)",
    )
    options = parser.parse_args(arguments)
    for line in slim(options.folder, options.keep):
        print(printable(line))  # noqa: T201
    return 0


def slim(folder: Path, keep: Kept) -> list[str]:
    """Slim the finished runs below ``folder``.

    Returns:
        A line for each run that was left as it is, and a last line with the space that was freed.

    Raises:
        RunFolderError: there is no run, or a run folder cannot be used.
        CheckpointError: the chosen checkpoint of a run is missing or damaged; that run is left as
            it is.
    """
    runs = sorted(path.parent for path in folder.rglob(FILE_NAME))
    if not runs:
        raise RunFolderError(f"{folder}: neither it nor a folder below it holds a run.json")
    lines, freed, slimmed = [], 0, 0
    for run in runs:
        record = RunRecord.read(run)
        if record.status != "done":
            lines.append(f"{run}: {record.status}, so it is left as it is")
            continue
        refuse_links(run)
        with locked(run):
            freed += _slim_run(run, record, keep)
        slimmed += 1
    return [*lines, f"{slimmed} {'run' if slimmed == 1 else 'runs'} slimmed, {_size(freed)} freed"]


def _slim_run(run: Path, record: RunRecord, keep: Kept) -> int:
    """Return the number of bytes that were freed."""
    from ablab.runs.checkpoints import Manifest  # imported here, since it imports torch

    manifest = Manifest(run / "checkpoints")
    before, chosen = _bytes_in(manifest.folder), record.checkpoints.get("chosen")
    if keep == "none":
        manifest.keep_none()
    elif record.checkpoints.get("kept") is None:
        names = (chosen, f"weights_{chosen}")  # the latter where slimming was interrupted
        entry = next((e for e in manifest.entries() if e.file in names), None)
        if entry is None:
            raise CheckpointError(
                f"{manifest.path}: does not list {chosen}, the chosen checkpoint of the run; "
                f"--keep none removes the others"
            )
        chosen = manifest.keep_weights(entry) if entry.file == chosen else entry.file
    else:  # it was slimmed before
        return 0
    manifest.remove_unlisted()  # Slimming may have been interrupted before it removed them.
    record.checkpoints = {"chosen": chosen, "kept": keep}
    record.write(run)
    return before - _bytes_in(manifest.folder)


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*") if path.is_file())


def _size(n: int) -> str:
    return f"{n / 2**20:.1f} MiB" if n >= 2**20 else f"{n / 2**10:.0f} KiB"
