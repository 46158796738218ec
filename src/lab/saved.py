"""Runs that are on disk: loaded, tested and used for predictions from their folder alone."""

import csv
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Trainer
from omegaconf import OmegaConf

from lab import terminal
from lab.atomic import atomic_write, is_there
from lab.build import build_data, build_model, monitor_of
from lab.checkpoint import Entry, Manifest, load_checkpoint, load_state
from lab.config.check import check
from lab.config.schema import Config
from lab.data.loader import TensorDataModule
from lab.errors import CheckpointError, RunFolderError
from lab.module import SupervisedModule
from lab.record import FILE_NAME, RunRecord, run_folders
from lab.resume import describe_parts, refuse_other_data


def load(folder: Path | str) -> tuple[SupervisedModule, TensorDataModule]:
    """Model (best checkpoint, eval mode, on the CPU) and data of a run, from its folder alone.

    Of a folder of runs, that of the newest finished one.

    Raises:
        RunFolderError, CheckpointError: there is no run, or it has no undamaged checkpoint.
    """
    folder = newest_run(folder)
    return _load(saved_config(folder), folder)


def _load(config: Config, folder: Path) -> tuple[SupervisedModule, TensorDataModule]:
    data = build_data(config)
    model = build_model(config, data)
    load_weights(model, config, folder, chosen_checkpoint(config, folder))
    return model.eval(), data


def newest_run(folder: Path | str) -> Path:
    """``folder`` if it is a run's, else the run below it that has finished last.

    Raises:
        RunFolderError: there is none.
    """
    folder = Path(folder)
    if is_there(folder / FILE_NAME):
        return folder
    found: dict[Path, RunRecord] = {}
    for path in sorted(run_folders(folder)):
        with suppress(RunFolderError):  # a damaged record is no reason to leave the others
            found[path] = RunRecord.read(path)
    done = [(record.ended or "", path) for path, record in found.items() if record.status == "done"]
    if not done:
        states = ", ".join(f"{path} ({record.status})" for path, record in list(found.items())[:5])
        raise RunFolderError(
            f"{folder}: neither it nor a folder below it has the run.json of a finished run"
            + (f"; there are {states}" if found else "")
        )
    return max(done)[1]


def chosen_checkpoint(config: Config, folder: Path) -> Entry:
    """The best by the objective on the validation part; without one, the last.

    Raises:
        CheckpointError: there is none.
    """
    manifest = Manifest(folder / "checkpoints")
    monitor = monitor_of(config)
    chosen = manifest.best(monitor, config.objective.mode) if monitor else None
    chosen = chosen or next(reversed(manifest.entries()), None)
    if chosen is None:
        raise CheckpointError(
            f"{manifest.folder}: holds no checkpoint; the run did not get that far"
        )
    return chosen


def load_weights(model: SupervisedModule, config: Config, folder: Path, entry: Entry) -> None:
    """Load a checkpoint of a run into its model.

    Raises:
        CheckpointError: it is damaged, or not of this model.
    """
    state = load_checkpoint(folder / "checkpoints" / entry.file).get("state_dict")
    if str(config.trainer.get("precision")) in ("64", "64-true"):
        model.double()  # ahead of the load, which would round to the model's precision
    try:
        load_state(model, state, finite=model.error_if_nonfinite != "none")
    except CheckpointError as error:
        raise CheckpointError(f"{entry.file}: {error}") from error


def saved_config(folder: Path) -> Config:
    """The config that the run's record holds. Raises RunFolderError, ConfigError."""
    record = RunRecord.read(folder)
    try:
        return check(OmegaConf.create(record.config))
    except RecursionError as error:
        raise RunFolderError(
            f"{folder / FILE_NAME}: is not a run record (its config is nested too deeply)"
        ) from error


def test_again(config: Config, folder: Path) -> None:
    """Shows the test metrics of a run beside its data's baselines."""
    model, data = _load_with_same_rows(config, folder)
    terminal.say(data.summary())
    terminal.show_test(type(model).__name__, test_metrics(config, model, data), data.baselines())


def _load_with_same_rows(config: Config, folder: Path) -> tuple[SupervisedModule, TensorDataModule]:
    """As ``load``. Raises RunFolderError if the rows are not those with which the run began."""
    model, data = _load(config, folder)
    refuse_other_data(RunRecord.read(folder).data_parts, describe_parts(data.parts))
    return model, data


def predict(config: Config, folder: Path) -> None:
    """Writes ``predictions.csv``: the data's own columns and ``prediction``, a row per test row."""
    model, data = _load_with_same_rows(config, folder)
    batches = evaluator_for(config).predict(model, datamodule=data)
    columns = {**data.test_table(), **data.prediction_columns(torch.cat(batches))}  # type: ignore[arg-type]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    path = folder / "predictions.csv"
    with clear_write_errors(path), atomic_write(path) as file:
        file.write(text.getvalue().encode())
    terminal.say(f"{len(columns['prediction'])} predictions: {path}", whole=True)


@contextmanager
def clear_write_errors(path: Path) -> Iterator[None]:
    """Raise RunFolderError for an OSError in the block, which adds ``path`` to a run's folder."""
    try:
        yield
    except OSError as error:
        raise RunFolderError(
            f"{path}: cannot be written ({error.strerror}); copy the run "
            f"folder to a place where you can write, and use the copy"
        ) from error


def test_metrics(
    config: Config, model: SupervisedModule, data: TensorDataModule
) -> dict[str, float]:
    evaluator = evaluator_for(config)
    evaluator.test(model, datamodule=data, verbose=False)
    return {k.removeprefix("test/"): float(v) for k, v in evaluator.callback_metrics.items()}


def evaluator_for(config: Config) -> Trainer:
    """On one device: several would repeat samples to even out their shares."""
    # Lightning looks for srun where this process may well be alone on SLURM
    warnings.filterwarnings("ignore", message="The `srun` command is available")
    return Trainer(
        accelerator=config.trainer.get("accelerator", "auto"),
        devices=1,
        precision=config.trainer.get("precision"),
        plugins=[LightningEnvironment()],  # whatever has started this process
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
