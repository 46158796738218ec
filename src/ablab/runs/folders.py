"""Find the folders of runs."""

import os
from pathlib import Path

from ablab.runs.record import FILE_NAME


def run_folders(folder: Path) -> list[Path]:
    """Return the folder of every run under ``folder``, also behind links to folders, each once."""
    found: list[Path] = []
    seen: set[str] = set()
    starts = [folder]
    for start in starts:  # links come last, so that a run goes by its own path if it has one
        for path, folders, files in os.walk(start):
            here = os.path.realpath(path)
            if here in seen:  # two links to one folder, or a loop
                folders.clear()
                continue
            seen.add(here)
            if FILE_NAME in files:
                found.append(Path(path))
            below = [Path(path, name) for name in folders]
            starts += sorted(path for path in below if os.path.islink(path))  # noqa: PTH114
    return found
