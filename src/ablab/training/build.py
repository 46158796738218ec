"""Build the objects of a run from its checked config: data, model, trackers, trainer."""

from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.accelerators import AcceleratorRegistry, CUDAAccelerator, MPSAccelerator
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.profilers import Profiler

from ablab.config.instantiate import instantiate
from ablab.config.schema import Config
from ablab.config.suggestions import suggestion
from ablab.config.targets import component_signature
from ablab.data.adapted import as_run_data
from ablab.data.contract import RunDataModule
from ablab.errors import ConfigError, first_line
from ablab.runs.checkpoint_io import AtomicCheckpointIO
from ablab.safety.signals import Interruption
from ablab.trackers import LoggerTracker, Tracker, build_tracker
from ablab.training.averaged_weights import AveragedWeights
from ablab.training.checkpointing import RunCheckpoints
from ablab.training.data_end import guard_steps
from ablab.training.logged import OnRunAxis, Position
from ablab.training.metrics import build_metric, sizes_for_metrics
from ablab.training.module import SupervisedModule
from ablab.training.own_steps import OwnSteps
from ablab.training.phases import PhasePlan
from ablab.training.plateau import PlateauFollowed
from ablab.training.ranks import launched_by
from ablab.training.steps import GradientClipping
from ablab.training.trial import check_fits, own_sizes, refuse_smaller_sizes


def build_data(config: Config, *, fetch: bool = True) -> RunDataModule:
    """Return the data of a run, read and split.

    Args:
        fetch: get files that are not there.

    Raises:
        DataError: they cannot be read.
        ConfigError: there is no test part, and the run needs one.
    """
    data = as_run_data(instantiate(config.data))
    data.configure(
        **config.loading.model_dump(),
        split_seed=config.seeds.split,
        order_seed=config.seeds.order,
    )
    if fetch:
        data.prepare_data()
    data.setup("fit")
    tests = config.test if config.task == "fit" else config.task in ("test", "predict")
    if tests and not data.has_test:
        remedy = "set test=false" if config.task == "fit" else "give the data one"
        raise ConfigError(f"test: {type(data.own).__name__} has no test part; {remedy}")
    return data


def build_model(config: Config, data: RunDataModule) -> LightningModule:
    """Return the model, with the sizes of the data and weights drawn from ``seeds.init``.

    A module with its own steps gets only the sizes that it takes.

    Raises:
        ConfigError: model, data and objective do not fit together.
    """
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seeds.init)
    own = own_sizes(config, data)
    refuse_smaller_sizes(own, data.sizes)
    sizes = {key: value for key, value in data.sizes.items() if key not in own}
    objective = config.objective
    if objective.loss is None:
        taken = component_signature(config.model["_target_"]).types
        sizes = {key: value for key, value in sizes.items() if key in taken}
    check_fits(config, sizes)
    model: LightningModule = instantiate(config.model, **sizes)
    if not isinstance(model, SupervisedModule):
        return model
    assert objective.loss is not None  # the check of the config has refused it
    loss = instantiate(objective.loss)
    offered = sizes_for_metrics(data.sizes)
    metrics = {name: build_metric(name, m, offered) for name, m in objective.metrics.items()}
    try:
        model.prepare_training(
            loss=loss,
            metrics=metrics,
            order_seed=config.seeds.order,
            error_if_nonfinite=config.error_if_nonfinite,
        )
    except KeyError as error:  # torch's, for a name that each module has for something else
        fault = f"a metric cannot have this name ({error.args[0]}); choose another"
        raise ConfigError(f"objective.metrics: {fault}") from error
    if "num_classes" in offered:
        model.class_names = data.class_names(offered["num_classes"])
    return model


def build_trackers(config: Config) -> list[Tracker]:
    """Return the trackers of ``config.logger``, not yet attached to a run.

    Lightning's loggers come first, so that ``self.logger`` of a module is one of them if any is.
    """
    trackers = [build_tracker(name, node) for name, node in config.logger.items() if node]
    return sorted(trackers, key=lambda tracker: not isinstance(tracker, LoggerTracker))


def build_trainer(
    config: Config,
    folder: Path,
    trackers: list[Tracker],
    interruption: Interruption,
    phase: PhasePlan,
    position: Position,
    ours: list[Callback],
    data: RunDataModule,
) -> Trainer:
    """Return the Trainer of one phase.

    Args:
        ours: callbacks of the engine; ``OwnSteps`` among them if the module has its own steps.

    Raises:
        ConfigError: Lightning refuses a setting.
    """
    _check_accelerator(config.trainer.get("accelerator"))
    checkpoints = RunCheckpoints(
        folder / "checkpoints",
        every_n_steps=config.checkpoints.every_n_steps,
        keep=config.checkpoints.keep,
        monitor=config.monitor,
        mode=config.objective.mode,
        interruption=interruption,
        before=position.before,
        in_mid_epoch=data.resumes == "exact in mid-epoch",
    )
    nodes = [_within(folder, node) for node in config.callbacks.values() if node]
    callbacks = [instantiate(node) for node in nodes]
    options: dict[str, Any] = {"_partial_": True}
    if phase.epochs is not None:
        options["max_epochs"] = phase.epochs
    own_steps = [callback for callback in ours if isinstance(callback, OwnSteps)]
    interval = config.trainer.get("val_check_interval")
    if isinstance(interval, int) and not own_steps:  # such a module gets single batches
        options["val_check_interval"] = interval // phase.steps.batches_per_execution
    if not data.has_validation:
        options["limit_val_batches"] = 0
    # The lines of epochs are the progress bar, unless the user has named one.
    options["enable_progress_bar"] = any(isinstance(c, ProgressBar) for c in callbacks)
    clip = None if own_steps else config.trainer.get("gradient_clip_val")
    if clip:
        algorithm = config.trainer.get("gradient_clip_algorithm") or "norm"
        callbacks.append(GradientClipping(clip, algorithm))
    # Trainer refuses these for a module that takes its optimiser steps itself, as ours does.
    taken_over = {"accumulate_grad_batches", "gradient_clip_val", "gradient_clip_algorithm"}
    of_trainer = {
        key: value for key, value in config.trainer.items() if own_steps or key not in taken_over
    }
    others = [c for c in ours if not isinstance(c, OwnSteps)]  # below the user's progress bar
    others = [PlateauFollowed(), AveragedWeights(), *others]
    build = instantiate({**_within(folder, of_trainer), **options})
    try:
        trainer = build(
            callbacks=[*own_steps, *callbacks, *others, checkpoints],
            logger=[OnRunAxis(tracker, position) for tracker in trackers],
            plugins=[AtomicCheckpointIO({checkpoints.folder: checkpoints.retained}), launched_by()],
            default_root_dir=folder,
        )
    except (
        MisconfigurationException,  # such as for devices that do not exist
        ValueError,
        ImportError,
        AttributeError,  # Lightning checks few types
        TypeError,
    ) as error:
        raise ConfigError(f"trainer: {first_line(error)}") from error
    guard_steps(trainer)
    position.trainer = trainer
    if not isinstance(trainer.profiler, Profiler):  # pyright: ignore[reportAttributeAccessIssue]
        raise ConfigError(
            "trainer.profiler: should be 'simple', 'advanced', 'pytorch', or a Profiler's _target_"
        )
    return trainer


def _check_accelerator(name: Any) -> None:
    """Raise ConfigError for an accelerator that Lightning does not know, or a GPU that is none.

    Lightning lists what it knows in another order in each process, and names no remedy.
    """
    known = ["auto", "gpu", *sorted(AcceleratorRegistry.available_accelerators())]
    if isinstance(name, str) and name not in known:
        raise ConfigError(f"trainer.accelerator: no '{name}'{suggestion(name, known)}")
    if name == "gpu" and not (CUDAAccelerator.is_available() or MPSAccelerator.is_available()):
        raise ConfigError(
            "trainer.accelerator: torch finds no GPU on this machine; take auto or cpu"
        )


def _within(folder: Path, node: Any) -> Any:
    """Return ``node`` with the paths to which its components write taken as within ``folder``."""
    if isinstance(node, list):
        return [_within(folder, inner) for inner in node]
    if not isinstance(node, dict):
        return node
    return {
        key: str(folder / value)
        if key in ("dirpath", "exclude_batches_path") and isinstance(value, str)
        else _within(folder, value)
        for key, value in node.items()
    }
