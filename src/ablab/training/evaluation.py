"""Load, test and predict with a run from its folder alone."""

import csv
import io
from copy import copy
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.model_helpers import is_overridden

from ablab import terminal
from ablab.config.metric_names import without_stage
from ablab.config.schema import Config
from ablab.data.contract import RunDataModule
from ablab.errors import CheckpointError, ConfigError
from ablab.runs.checkpoint_files import load_state
from ablab.runs.checkpoints import Entry, load_checkpoint
from ablab.runs.find import chosen_checkpoint, newest_run, saved_config
from ablab.runs.record import COPY_THE_RUN, RunRecord, clear_write_errors
from ablab.runs.resume import refuse_other_data
from ablab.safety.atomic_files import atomic_write
from ablab.training import terminal_tables
from ablab.training.build import build_data, build_model
from ablab.training.data_end import guard_steps
from ablab.training.module import SupervisedModule
from ablab.training.predictions import columns_of
from ablab.training.randomness import reseed_all


def load(folder: Path | str) -> tuple[LightningModule, RunDataModule]:
    """Load the model (best checkpoint, in eval mode, on the CPU) and the data of a run.

    Args:
        folder: a run folder, or a folder of runs, of which the newest finished one is taken.

    Raises:
        RunFolderError: there is no run.
        CheckpointError: it has no undamaged checkpoint.
    """
    folder = newest_run(folder)
    return _load(saved_config(folder), folder)


def _load(config: Config, folder: Path) -> tuple[LightningModule, RunDataModule]:
    data = build_data(config)
    model = build_model(config, data)
    load_weights(model, config, folder, chosen_checkpoint(config, folder))
    return model.eval(), data


def load_weights(model: LightningModule, config: Config, folder: Path, entry: Entry) -> None:
    """Load a checkpoint of a run into its model.

    Raises:
        CheckpointError: it is damaged, or not of this model.
    """
    checkpoint = load_checkpoint(folder / "checkpoints" / entry.file)
    if str(config.trainer.get("precision")) in ("64", "64-true"):
        model.double()  # first, since loading rounds to the model's precision
    if not isinstance(model, SupervisedModule) and "loops" in checkpoint:  # it is whole
        model.on_load_checkpoint(checkpoint)
    try:
        finite = config.error_if_nonfinite != "none"
        load_state(model, checkpoint.get("state_dict"), finite=finite)
    except CheckpointError as error:
        raise CheckpointError(f"{entry.file}: {error}") from error


def _load_with_same_rows(config: Config, folder: Path) -> tuple[LightningModule, RunDataModule]:
    """Load as ``load`` does; raise RunFolderError if the rows are not those of the run."""
    model, data = _load(config, folder)
    refuse_other_data(RunRecord.read(folder).data_parts, data.fingerprints())
    return model, data


def test_again(config: Config, folder: Path) -> None:
    """Test a run again; print its metrics beside the baselines of its data."""
    model, data = _load_with_same_rows(config, folder)
    terminal.say(data.summary())
    terminal_tables.show_test(
        type(model).__name__, test_metrics(config, model, data), data.baselines()
    )


def predict(config: Config, folder: Path) -> None:
    """Write ``predictions.csv``: for each test row the data's own columns and ``prediction``.

    Where ``data.path`` is another file than that of the run, and that one is still there, the rows
    of the other file are predicted, and written to ``predictions_NAME.csv``.
    """
    saved, new = saved_config(folder), config.data.get("path")
    if new == saved.data.get("path") or not Path(saved.data["path"]).exists():
        new = None  # The file has been moved, if anything.
    model, data = _load_with_same_rows(config if new is None else saved, folder)
    if new is not None:
        data.predict_from(Path(new))
    if not is_overridden("predict_step", model):
        raise ConfigError(
            f"task: {type(model).__name__} has no predict_step, so it predicts nothing"
        )
    reseed_all(model.device, config.seeds.order)
    batches: Any = evaluator_for(config).predict(model, datamodule=data)
    if isinstance(model, SupervisedModule):
        predicted = data.prediction_columns(torch.cat(batches))
    else:
        predicted = columns_of(type(model).__name__, batches)
    columns = {**data.test_table(), **predicted}
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    path = folder / ("predictions.csv" if new is None else f"predictions_{Path(new).stem}.csv")
    with clear_write_errors(path, COPY_THE_RUN), atomic_write(path) as file:
        file.write(text.getvalue().encode())
    terminal.say(f"{len(next(iter(predicted.values())))} predictions: {path}", whole=True)


def test_metrics(config: Config, model: LightningModule, data: RunDataModule) -> dict[str, float]:
    """Return what a test of the test part logs, by name without its stage."""
    evaluator = evaluator_for(config)
    reseed_all(model.device, config.seeds.order)  # a module may draw in its test_step
    evaluator.test(model, datamodule=data, verbose=False)
    return {without_stage(k): float(v) for k, v in evaluator.callback_metrics.items()}


def train_metrics(config: Config, model: LightningModule, data: RunDataModule) -> dict[str, float]:
    """Return the metrics of the training part, without the loss: a fit logs that by this name."""
    data = copy(data)
    data.test_dataloader = data.training_part  # an attribute, as Lightning looks a hook up
    measured = test_metrics(config, model, data)
    return {f"train/{name}": value for name, value in measured.items() if name != "loss"}


def evaluator_for(config: Config) -> Trainer:
    """Return a Trainer on one device; several would repeat rows to get equal shares."""
    trainer = Trainer(
        accelerator=config.trainer.get("accelerator", "auto"),
        devices=1,
        precision=config.trainer.get("precision"),
        plugins=[LightningEnvironment()],  # this process is alone, whatever has started it
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    guard_steps(trainer)
    return trainer
