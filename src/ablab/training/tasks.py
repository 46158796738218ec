"""Carry out a task: fit, test, predict, or look for a learning rate."""

import functools
import logging
import os
import warnings
from contextlib import nullcontext
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path

import torch
from lightning.fabric.utilities import registry

from ablab import terminal
from ablab.config.schema import Config
from ablab.config.written import pasteable
from ablab.errors import RunFolderError
from ablab.runs.checkpoints import Manifest, Progress
from ablab.runs.find import saved_config
from ablab.runs.record import FILE_NAME, RunRecord
from ablab.runs.resume import (
    checkpoint_to_lengthen,
    lengthen,
    refuse_changes,
    refuse_to_lengthen,
)
from ablab.safety.atomic_files import is_there, remove_leftovers
from ablab.safety.folder_lock import locked
from ablab.safety.signals import Interruption
from ablab.training.evaluation import predict, test_again
from ablab.training.fit import fit
from ablab.training.ranks import end_with_launcher, is_main_process
from ablab.training.run import Run, say_how_to_continue

_entry_points = functools.cache(entry_points)
_OF_HYDRA = ("run.log", ".hydra")  # it writes them into the folder of a run that has not begun


def run_task(config: Config, folder: Path, overrides: list[str]) -> float | None:
    """Do what ``config.task`` says.

    Args:
        folder: the folder of a new run, or of the run that ``config.run`` names.
        overrides: the arguments of the command line, for the record.

    Returns:
        The best validation metric of a fit.

    Raises:
        UserError: for what the user can fix.
    """
    quieten_libraries()
    match config.task:
        case "lr_find":
            if is_main_process():
                from ablab.training.range_test.task import run_range_test  # imports matplotlib

                run_range_test(config, folder)
        case "test":
            if is_main_process():
                test_again(config, folder)
        case "predict":
            if is_main_process():
                predict(config, folder)
        case "fit":
            end_with_launcher()
            with (
                locked(folder) if is_main_process() else nullcontext(),
                Interruption() as interruption,
            ):
                if config.run is not None:
                    return _continue(folder, interruption, _epochs_asked_for(config, overrides))
                if is_main_process():
                    _refuse_a_second_run(folder)
                record = RunRecord.planned(config.model_dump(mode="json"), overrides)
                return _fit_new(Run(folder, config, record, interruption))
    return None


def continue_run(folder: Path) -> float | None:
    """Begin or continue the run whose record lies in ``folder``; a plan has checked its config.

    Returns and raises: as ``run_task``.
    """
    quieten_libraries()
    with locked(folder), Interruption() as interruption:
        return _continue(folder, interruption, checked=True)


def _fit_new(run: Run) -> float | None:
    with run.recorded():
        return fit(run, run.read_data(), None)


def _continue(
    folder: Path, interruption: Interruption, epochs: int | None = None, *, checked: bool = False
) -> float | None:
    """Continue a run, to ``epochs`` epochs if that is given; its config may have been checked."""
    record = RunRecord.read(folder)
    if is_main_process():
        remove_leftovers(folder)
    try:
        return _continue_recorded(folder, record, interruption, epochs, checked=checked)
    except BaseException as error:
        stop = interruption.stop_behind(error)
        if stop is not None and record.status == "running" and is_main_process():
            # The run was killed earlier, and this process is stopped before it could begin.
            record.end("interrupted", stop.exit_code)
            record.write(folder)
            say_how_to_continue(stop, folder)
        raise


def _continue_recorded(
    folder: Path,
    record: RunRecord,
    interruption: Interruption,
    epochs: int | None,
    *,
    checked: bool,
) -> float | None:
    if is_main_process():
        refuse_changes(folder, record)
    config = Config.model_validate(record.config) if checked else saved_config(folder)
    longer = None if epochs == config.trainer.get("max_epochs") else epochs
    if longer is not None:
        refuse_to_lengthen(record, config, longer)
    elif record.status == "done":
        terminal.say(f"{folder}: the run is finished; nothing is left to do", whole=True)
        return record.metrics.get("chosen", {}).get(config.monitor or "")
    run = Run(folder, config, record, interruption)
    if record.status == "planned":
        return _fit_new(run)
    resume = (
        Manifest(folder / "checkpoints").newest_that_verifies()
        if longer is None
        else checkpoint_to_lengthen(folder, record, config, longer)
    )
    if resume is None:
        terminal.say(
            f"continuing {folder} from the beginning: it has no undamaged checkpoint", whole=True
        )
        record.data_parts = {}  # nothing is left of what its former rows have taught
        if longer is not None:
            run.config = lengthen(folder, record, longer, None)
        return _fit_new(run)
    terminal.say(f"continuing {folder} at step {resume.step}", whole=True)
    data = run.read_data()  # here, so that other rows are refused before the run is changed
    if longer is not None:
        run.config = lengthen(folder, record, longer, resume)
        resume = replace(resume, before=Progress())  # its only phase is open again
    with run.recorded():
        return fit(run, data, resume)


def _epochs_asked_for(config: Config, overrides: list[str]) -> int | None:
    """Return the number of epochs asked for on the command line, or None."""
    asked = any(o.lstrip("+").startswith("trainer.max_epochs=") for o in overrides)
    return config.trainer.get("max_epochs") if asked else None


def quieten_libraries() -> None:
    """Leave out what Lightning and torch say that is no news in a run of this engine."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)  # our own tables say what a run is
    # Lightning 2.6 causes it with torch 2.14; it is harmless, and no user can fix it.
    warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated")
    # reports go by optimiser steps over the whole run, so short epochs lose none
    warnings.filterwarnings("ignore", message=".*is smaller than the logging interval")
    # norms of frozen groups are meant to be
    warnings.filterwarnings("ignore", message="Found .* module.s. in eval mode")
    # Lightning looks for srun, though a run on SLURM may well be of one process.
    warnings.filterwarnings("ignore", message="The `srun` command is available")
    # of what is reported: all processes have the same already
    warnings.filterwarnings("ignore", message="It is recommended to use .self.log.*sync_dist")
    # Each Trainer searches all installed packages for callbacks: longer than a short fit takes.
    registry.entry_points = _entry_points  # pyright: ignore[reportPrivateImportUsage]
    if not torch.cuda.is_available():
        # Lightning has torch ask NVML whether there is a GPU, and optimisers ask before each step
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"


def _refuse_a_second_run(folder: Path) -> None:
    """Raise RunFolderError if ``folder``, named with hydra.run.dir, is in use.

    A config can name any folder, and a run replaces files such as config.yaml.
    """
    if is_there(folder / FILE_NAME):
        raise RunFolderError(
            f"{folder}: a run is there already; continue it with task=fit "
            f"{pasteable('run', str(folder))}, or name another folder"
        )
    names = sorted(path.name for path in folder.iterdir() if path.suffix != ".part")
    others = [name for name in names if name not in _OF_HYDRA]
    if others:
        raise RunFolderError(
            f"{folder}: holds other files ({others[0]}); name a new folder with hydra.run.dir=…"
        )
