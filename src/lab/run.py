"""One run from config to record: build, fit, test, show what was learned, write ``run.json``."""

import csv
import io
import logging
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import OmegaConf

from lab import terminal
from lab.atomic import atomic_write
from lab.checkpoint import AtomicCheckpointIO, Entry, Manifest, RunCheckpoints, load_checkpoint
from lab.cli import seconds_since_start
from lab.config.check import check, has_validation
from lab.config.schema import Config
from lab.config.signatures import signature_of
from lab.data.loader import TensorDataModule
from lab.errors import CheckpointError, ConfigError
from lab.interruption import Interruption, RunInterrupted
from lab.module import SupervisedModule
from lab.phases import PhasePlan, Progress, plan_phases
from lab.record import RunRecord
from lab.trackers import RunInfo, Tracker

CONFIG_FILE = "config.yaml"


def run(config: Config, folder: Path, overrides: list[str]) -> float | None:
    """Do what ``config.task`` says. Returns the objective of a fit, the best validation metric.

    Args:
        folder: where a new run lives, or the run that ``config.run`` names.
        overrides: what was said on the command line, for the record.

    Raises:
        UserError: for what the user can mend.
    """
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)  # our own tables say what a run is
    # between lightning 2.6 and torch 2.14; harmless, and nothing a user can mend
    warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated")
    # reports go by optimiser steps over the whole run, so short epochs lose none
    warnings.filterwarnings("ignore", message=".*is smaller than the logging interval")
    # norms of frozen groups are meant to be
    warnings.filterwarnings("ignore", message="Found .* module.s. in eval mode")
    if config.task == "lr_find":
        return _find_lr(config, folder, overrides)
    if config.run is None:
        record = RunRecord.start(config.model_dump(mode="json"), overrides)
        record.seconds["start"] = seconds_since_start()
        return _recorded_fit(config, folder, record)
    match config.task:
        case "test":
            _test_again(folder)
        case "predict":
            _predict(folder)
        case "fit":
            return _continue_fit(folder, overrides)
    return None


def load(folder: Path | str) -> tuple[SupervisedModule, TensorDataModule]:
    """Model (best checkpoint, eval mode, on the CPU) and data of a run, from its folder alone.

    Raises:
        RunFolderError, CheckpointError: the folder is not a run's, or has no undamaged checkpoint.
    """
    folder = Path(folder)
    config = _saved_config(folder)
    data = build_data(config)
    model = build_model(config, data)
    _load_weights(model, folder, _chosen_checkpoint(config, folder))
    return model.eval(), data


# -- building -------------------------------------------------------------------------------------


def build_data(config: Config) -> TensorDataModule:
    data = instantiate(config.data, _convert_="all")
    data.prepare_data()
    data.setup("fit")
    return data


def build_model(config: Config, data: TensorDataModule) -> SupervisedModule:
    """The model with the sizes that the data has, drawn from ``seeds.init``."""
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seeds.init)
    sizes = {key: value for key, value in data.sizes.items() if key not in config.model}
    _check_fits(config, sizes)
    model: SupervisedModule = instantiate({**config.model}, **sizes, _convert_="all")
    objective = config.objective
    model.prepare_training(
        loss=instantiate(objective.loss, _convert_="all"),
        metrics={name: instantiate(m, _convert_="all") for name, m in objective.metrics.items()},
        order_seed=config.seeds.order,
    )
    return model


def _check_fits(config: Config, sizes: dict[str, Any]) -> None:
    """Raises ConfigError unless the model takes the data's sizes, and needs no others."""
    target = config.model["_target_"]
    signature = signature_of(target)
    unknown = sizes.keys() - signature.types.keys()
    missing = signature.required - sizes.keys() - config.model.keys()
    if missing or (unknown and not signature.accepts_any):
        wants = f"needs {', '.join(sorted(missing))}" if missing else "does not take them"
        raise ConfigError(
            f"model: {target} is not for this data, which has {', '.join(sorted(sizes))}; "
            f"it {wants}"
        )


def build_trackers(config: Config) -> list[Tracker]:
    return [instantiate(node, _convert_="all") for node in config.logger.values() if node]


def build_trainer(
    config: Config,
    folder: Path,
    trackers: list[Tracker],
    interruption: Interruption,
    phase: PhasePlan,
    before: Progress,
) -> tuple[Trainer, RunCheckpoints]:
    checkpoints = RunCheckpoints(
        folder / "checkpoints",
        every_n_steps=config.checkpoints.every_n_steps,
        keep=config.checkpoints.keep,
        monitor=_monitor(config),
        mode=config.objective.mode,
        interruption=interruption,
        before=before,
    )
    callbacks = [instantiate(node, _convert_="all") for node in config.callbacks.values() if node]
    options: dict[str, Any] = {"_partial_": True}
    if phase.epochs is not None:
        options["max_epochs"] = phase.epochs
    if not has_validation(config):
        options["limit_val_batches"] = 0
    if not sys.stdout.isatty():  # a bar is for eyes; a log gets a line for each epoch
        options["enable_progress_bar"] = False
    elif config.trainer.get("enable_progress_bar", True):
        callbacks.append(TQDMProgressBar(refresh_rate=100, leave=False))
    build = instantiate({**config.trainer, **options}, _convert_="all")
    trainer = build(
        callbacks=[*callbacks, terminal.EpochLines(), checkpoints],
        logger=trackers,
        plugins=[AtomicCheckpointIO()],
        default_root_dir=folder,
    )
    return trainer, checkpoints


# -- the tasks ------------------------------------------------------------------------------------


def _recorded_fit(
    config: Config, folder: Path, record: RunRecord, resume: Entry | None = None
) -> float | None:
    """A fit whose record and trackers tell its true end, however it ends."""
    started = time.perf_counter()
    trackers = build_trackers(config)
    main_process = _is_main_process()
    exit_code = 1
    try:
        with Interruption() as interruption:
            if main_process:
                record.write(folder)
                with atomic_write(folder / CONFIG_FILE) as file:
                    file.write(OmegaConf.to_yaml(OmegaConf.create(record.config)).encode())
            objective = _fit(config, folder, record, trackers, interruption, resume)
        record.end("done", exit_code := 0)
    except RunInterrupted as stop:
        exit_code = stop.exit_code
        record.end("interrupted", exit_code)
        terminal.say(f"{stop}; continue with: python train.py task=fit run={folder}")
        raise
    except BaseException as error:
        record.end("failed", exit_code, error)
        raise
    finally:
        closing = time.perf_counter()
        for tracker in trackers:
            tracker.finish(exit_code)
        if main_process:
            record.trackers |= {type(t).__name__: t.description for t in trackers}
            record.seconds["trackers_end"] = time.perf_counter() - closing
            record.seconds["total"] = record.seconds.get("start", 0) + time.perf_counter() - started
            record.write(folder)
    if main_process:
        terminal.say(f"\nrun folder: {folder}  ({record.seconds['total']:.1f} s in all)")
    return objective


def _fit(
    config: Config,
    folder: Path,
    record: RunRecord,
    trackers: list[Tracker],
    interruption: Interruption,
    resume: Entry | None,
) -> float | None:
    with _timed(record, "data"):
        data = build_data(config)
        record.data = data.summary()
        record.baselines = data.baselines()
    terminal.say(record.data)
    with _timed(record, "build"):
        model = build_model(config, data)
        record.parameters = sum(p.numel() for p in model.parameters())
        if resume is None:
            model.load_pretrained()
    _attach(trackers, config, folder, record)
    if resume is not None:
        for tracker in trackers:
            tracker.truncate_after(resume.step)
    if not has_validation(config):
        terminal.say("no validation part: all training rows are fitted, nothing can be chosen by")
    before = Progress() if resume is None else resume.before
    for phase in plan_phases(config)[before.phase :]:
        trainer, checkpoints = build_trainer(config, folder, trackers, interruption, phase, before)
        record.device = f"{trainer.strategy.root_device} x {trainer.world_size}"
        record.deterministic = torch.are_deterministic_algorithms_enabled()
        model.begin_phase(phase, before)
        data.first_epoch = before.epochs
        terminal.show_groups(model)
        path = None
        if resume is not None and resume.before.phase == before.phase:
            path = checkpoints.manifest.folder / resume.file
        with _timed(record, "fit"):
            trainer.fit(model, datamodule=data, ckpt_path=path)
        before = Progress(before.phase + 1, model.total_steps, model.total_epochs)
    if not _is_main_process():
        return None
    record.steps, record.epochs = before.steps, before.epochs
    chosen = _chosen_checkpoint(config, folder)
    last = Manifest(folder / "checkpoints").entries()[-1]
    record.checkpoints = {"chosen": chosen.file, "last": last.file}
    record.metrics["last"] = last.metrics
    record.metrics["chosen"] = chosen.metrics
    _load_weights(model, folder, chosen)
    if config.test:
        with _timed(record, "test"):
            record.metrics["test"] = _test(config, model, data)
        terminal.show_test(type(model).__name__, record.metrics["test"], record.baselines)
    with _timed(record, "interpret"):
        for node in config.interpret.values():
            if node:
                instantiate(node, _convert_="all")(model, data, folder)
    for tracker in trackers:
        tracker.log_summary({f"test/{k}": v for k, v in record.metrics.get("test", {}).items()})
    return chosen.metrics.get(_monitor(config) or "")


def _continue_fit(folder: Path, overrides: list[str]) -> float | None:
    record, config = RunRecord.read(folder), _saved_config(folder)
    if record.status == "done":
        terminal.say(f"{folder}: the run is finished; nothing is left to do")
        return record.metrics.get("chosen", {}).get(_monitor(config) or "")
    resume = Manifest(folder / "checkpoints").newest_that_verifies()
    at = (
        "from the beginning: it has no checkpoint yet"
        if resume is None
        else f"at step {resume.step}"
    )
    terminal.say(f"continuing {folder} {at}")
    record.continue_(overrides)
    return _recorded_fit(config, folder, record, resume)


def _test_again(folder: Path) -> None:
    config = _saved_config(folder)
    model, data = load(folder)
    terminal.say(data.summary())
    terminal.show_test(type(model).__name__, _test(config, model, data), data.baselines())


def _predict(folder: Path) -> None:
    """Writes ``predictions.csv``: the data's own columns and ``prediction``, a row per test row."""
    config = _saved_config(folder)
    model, data = load(folder)
    batches = _evaluator(config).predict(model, datamodule=data)
    columns = {**data.test_table(), **data.prediction_columns(torch.cat(batches))}  # type: ignore[arg-type]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    with atomic_write(folder / "predictions.csv") as file:
        file.write(text.getvalue().encode())
    terminal.say(f"{len(columns['prediction'])} predictions: {folder / 'predictions.csv'}")


def _find_lr(config: Config, folder: Path, overrides: list[str]) -> None:
    """A range test on one device. Its folder holds no ``run.json``: nothing was trained that could
    be tested, continued or reported, and what reads records need not learn to pass it over."""
    from lab.optim.lr_finder import find_lr
    from lab.optim.lr_finder_report import report_curve  # imports matplotlib

    if not _is_main_process():
        return
    data = build_data(config)
    terminal.say(data.summary())
    model = build_model(config, data)
    model.load_pretrained()
    ladder = config.lr_find.model_dump()
    name = ladder.pop("phase")
    phase = next(p for p in plan_phases(config) if name in (None, p.name))
    model.begin_phase(phase, Progress())
    terminal.show_groups(model)
    device = _evaluator(config).strategy.root_device
    curve = find_lr(model, data.train_dataloader(), phase.optim, **ladder, device=device)
    with atomic_write(folder / CONFIG_FILE) as file:
        file.write(OmegaConf.to_yaml(config.model_dump(mode="json")).encode())
    report_curve(curve, config, phase, folder, overrides)


def _test(config: Config, model: SupervisedModule, data: TensorDataModule) -> dict[str, float]:
    evaluator = _evaluator(config)
    evaluator.test(model, datamodule=data, verbose=False)
    return {k.removeprefix("test/"): float(v) for k, v in evaluator.callback_metrics.items()}


def _evaluator(config: Config) -> Trainer:
    """On one device: several would repeat samples to even out their shares."""
    return Trainer(
        accelerator=config.trainer.get("accelerator", "auto"),
        devices=1,
        precision=config.trainer.get("precision"),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


# -- small parts ----------------------------------------------------------------------------------


def _is_main_process() -> bool:
    """Rank 0; also before the processes of a run know each other (Lightning reads the launcher's
    environment when it is imported)."""
    return getattr(rank_zero_only, "rank", 0) == 0


def _monitor(config: Config) -> str | None:
    """What checkpoints are chosen by; on the validation part only, so never on the test part."""
    return f"val/{config.objective.metric}" if has_validation(config) else None


def _chosen_checkpoint(config: Config, folder: Path) -> Entry:
    manifest = Manifest(folder / "checkpoints")
    monitor = _monitor(config)
    chosen = manifest.best(monitor, config.objective.mode) if monitor else None
    chosen = chosen or next(reversed(manifest.entries()), None)
    if chosen is None:
        raise CheckpointError(
            f"{manifest.folder}: holds no checkpoint; the run did not get that far"
        )
    return chosen


def _load_weights(model: SupervisedModule, folder: Path, entry: Entry) -> None:
    state = load_checkpoint(folder / "checkpoints" / entry.file)["state_dict"]
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(f"{entry.file}: is not of this model: {error}") from error


def _saved_config(folder: Path) -> Config:
    record = RunRecord.read(folder)
    return check(OmegaConf.create(record.config))


def _attach(trackers: list[Tracker], config: Config, folder: Path, record: RunRecord) -> None:
    commit = record.git.get("commit", "")[:10]
    wandb_id = record.trackers.get("WandbTracker", {}).get("id")
    info = RunInfo(
        folder=folder,
        name=config.name,
        group=config.name,
        tags=(f"seed={config.seed}", *([f"commit={commit}"] if commit else [])),
        config=record.config,
        wandb_id=wandb_id,
    )
    for tracker in trackers:
        tracker.attach(info)
    record.trackers = {type(t).__name__: t.description for t in trackers}
    if _is_main_process():
        record.write(folder)  # a killed run is continued under the same W&B id


@contextmanager
def _timed(record: RunRecord, part: str) -> Iterator[None]:
    started = time.perf_counter()
    try:
        yield
    finally:
        record.seconds[part] = record.seconds.get(part, 0.0) + time.perf_counter() - started
