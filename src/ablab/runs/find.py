"""Find runs on disk, their configs and their chosen checkpoints."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import OmegaConf

from ablab.config.check import check
from ablab.config.schema import Config
from ablab.errors import CheckpointError, RunFolderError
from ablab.runs.folders import run_folders
from ablab.runs.record import FILE_NAME, RunRecord
from ablab.safety.atomic_files import is_there

if TYPE_CHECKING:
    from ablab.runs.checkpoints import Entry


def newest_run(folder: Path | str) -> Path:
    """Return ``folder`` if it is a run folder, else the run below it that has finished last.

    Raises:
        RunFolderError: there is none.
    """
    folder = Path(folder)
    if is_there(folder / FILE_NAME):
        return folder
    found: dict[Path, RunRecord] = {}
    for path in sorted(run_folders(folder)):
        with suppress(RunFolderError):  # a damaged record must not hide the others
            found[path] = RunRecord.read(path)
    done = [(record.ended or "", path) for path, record in found.items() if record.status == "done"]
    if not done:
        states = ", ".join(f"{path} ({record.status})" for path, record in list(found.items())[:5])
        raise RunFolderError(
            f"{folder}: neither it nor a folder below it has the run.json of a finished run"
            + (f"; there are {states}" if found else "")
        )
    return max(done)[1]


def chosen_checkpoint(config: Config, folder: Path) -> "Entry":
    """Return the best checkpoint by the objective on the validation part; without one, the last.

    Raises:
        CheckpointError: there is none.
    """
    from ablab.runs.checkpoints import Manifest  # imports torch

    manifest = Manifest(folder / "checkpoints")
    monitor = config.monitor
    chosen = manifest.best(monitor, config.objective.mode) if monitor else None
    chosen = chosen or next(reversed(manifest.entries()), None)
    if chosen is None:
        raise CheckpointError(
            f"{manifest.folder}: holds no checkpoint; the run did not get that far"
        )
    return chosen


def saved_config(folder: Path) -> Config:
    """Return the config of a run's record. Raises RunFolderError or ConfigError."""
    record = RunRecord.read(folder)
    try:
        return check(OmegaConf.create(record.config))
    except RecursionError as error:
        raise RunFolderError(
            f"{folder / FILE_NAME}: is not a run record (its config is nested too deeply)"
        ) from error
