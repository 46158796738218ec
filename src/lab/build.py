"""From a checked config to the objects of a run: data, model, trackers, trainer."""

import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.profilers import Profiler
from torch import Tensor

from lab import terminal
from lab.checkpoint import AtomicCheckpointIO
from lab.config.check import first_line
from lab.config.schema import Config
from lab.config.signatures import signature_of
from lab.data.loader import TensorDataModule
from lab.errors import ConfigError, DataError
from lab.gradient_clipping import GradientClipping
from lab.interpret.activations import uncompiled
from lab.interruption import Interruption
from lab.module import SupervisedModule
from lab.phases import PhasePlan, Progress
from lab.ranks import launched_by
from lab.run_checkpoints import RunCheckpoints
from lab.trackers import Tracker


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
    own = _own_sizes(config, data)
    _refuse_smaller_sizes(own, data.sizes)
    sizes = {key: value for key, value in data.sizes.items() if key not in own}
    _check_fits(config, sizes)
    model: SupervisedModule = instantiate({**config.model}, **sizes, _convert_="all")
    objective = config.objective
    loss = instantiate(objective.loss, _convert_="all")
    metrics = {name: instantiate(m, _convert_="all") for name, m in objective.metrics.items()}
    try:
        model.prepare_training(
            loss=loss,
            metrics=metrics,
            order_seed=config.seeds.order,
            error_if_nonfinite=config.error_if_nonfinite,
        )
    except KeyError as error:  # torch's, for a name that each module has for something else
        told = f"a metric cannot have this name ({error.args[0]}); choose another"
        raise ConfigError(f"objective.metrics: {told}") from error
    return model


def _own_sizes(config: Config, data: TensorDataModule) -> dict[str, Any]:
    """Sizes that the config sets, and would otherwise be the data's."""
    return {key: config.model[key] for key in data.sizes if key in config.model}


def _refuse_smaller_sizes(own: dict[str, Any], sizes: dict[str, Any]) -> None:
    """Raises ConfigError for a size with which some of the data would be out of range."""
    faults = [
        f"model.{key}: {value} is not enough for these data, which have {sizes[key]}; leave it out"
        for key, value in own.items()
        if not _at_least(value, sizes[key])
    ]
    if faults:
        raise ConfigError("\n".join(faults))


def _at_least(own: Any, size: Any) -> bool:
    if isinstance(size, list):
        return isinstance(own, list) and len(own) == len(size) and all(map(_at_least, own, size))
    return isinstance(own, int) and own >= size


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
            f"it {wants}; choose another with model=NAME"
        )


def try_out(config: Config, model: SupervisedModule, data: TensorDataModule) -> None:
    """Try model, loss and metrics on two training rows; the model is left as it was.

    Raises:
        ConfigError: the model is not for rows like these, or the objective is not for what the
            model and these data give.
        DataError: all training targets are the same.
    """
    *inputs, target = (part[:2] for part in data.parts["train"])
    model.eval()
    try:
        with torch.no_grad(), uncompiled(model):  # two rows are not worth a compilation
            output = model(*inputs)
    except RuntimeError as error:
        own = {k: v for k, v in _own_sizes(config, data).items() if v != data.sizes[k]}
        if not own:
            raise
        said = ", ".join(f"{key}={value}" for key, value in own.items())
        raise ConfigError(
            f"model: with {said} it is not for these data, which have "
            f"{', '.join(f'{key} {data.sizes[key]}' for key in own)}; leave it out "
            f"({first_line(error)})"
        ) from error
    try:
        with torch.no_grad():
            loss = model.loss_function(output, target)
            model.evaluation_metrics.update(model.activation(output), target)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        told = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigError(
            f"objective: is not for outputs {_described(output)} and targets {_described(target)} "
            f"({told}); choose another with objective=…"
        ) from error
    else:
        _refuse_several_numbers({"loss": loss, **_computed(model)})
    finally:
        model.evaluation_metrics.reset()
        model.train()
    _look_at_targets(model, data.parts["train"][-1])


def _look_at_targets(model: SupervisedModule, targets: Tensor) -> None:
    """Say if no prediction can reach some of the targets, or if most of its range is not needed.

    Raises:
        DataError: all targets are the same.
    """
    if targets.numel() == 0:
        return
    least, most = (end.item() for end in targets.aminmax())
    if least == most:
        raise DataError(
            f"all {len(targets):,} training targets are {least:g}; there is nothing to learn"
        )
    y_range = getattr(model, "y_range", None)
    if not isinstance(y_range, tuple | list) or len(y_range) != 2:
        return
    low, high = sorted(model.activation(torch.tensor(y_range, dtype=torch.float32)).tolist())
    if least < low or most > high or most - least < (high - low) / 4:
        terminal.say(
            f"model.y_range allows predictions from {low:g} to {high:g}, but the training targets "
            f"go from {least:g} to {most:g}; choose a range that is a little wider than the targets"
        )


def _computed(model: SupervisedModule) -> dict[str, Any]:
    """What each metric is of two rows; without those for which that is too few."""
    values = {}
    with warnings.catch_warnings(action="ignore"):
        for name, metric in model.evaluation_metrics.items():
            with suppress(Exception):
                values[f"metrics.{name}"] = metric.compute()
    return values


def _refuse_several_numbers(values: Mapping[str, Any]) -> None:
    """Raises ConfigError for a loss or a metric that is more than one number."""
    for name, value in values.items():
        try:
            float(value)
        except (TypeError, ValueError, RuntimeError) as error:
            tensor = isinstance(value, torch.Tensor)
            given = f"{value.numel()} numbers" if tensor else f"a {type(value).__name__}"
            raise ConfigError(
                f"objective.{name}: gives {given} for two rows, where it should give one number; "
                f"have it average over them"
            ) from error


def _described(tensor: torch.Tensor) -> str:
    kind = str(tensor.dtype).removeprefix("torch.")
    return f"of {kind}" + (f" for {tensor.shape[1]} classes" if tensor.dim() > 1 else ", one a row")


def build_trackers(config: Config) -> list[Tracker]:
    return [instantiate(node, _convert_="all") for node in config.logger.values() if node]


def build_trainer(
    config: Config,
    folder: Path,
    trackers: list[Tracker],
    interruption: Interruption,
    phase: PhasePlan,
    before: Progress,
    epoch_lines: terminal.EpochLines,
) -> Trainer:
    """Raises ConfigError for what Lightning refuses."""
    checkpoints = RunCheckpoints(
        folder / "checkpoints",
        every_n_steps=config.checkpoints.every_n_steps,
        keep=config.checkpoints.keep,
        monitor=monitor_of(config),
        mode=config.objective.mode,
        interruption=interruption,
        before=before,
    )
    nodes = [_within(folder, node) for node in config.callbacks.values() if node]
    callbacks = [instantiate(node, _convert_="all") for node in nodes]
    options: dict[str, Any] = {"_partial_": True}
    if phase.epochs is not None:
        options["max_epochs"] = phase.epochs
    interval = config.trainer.get("val_check_interval")
    if isinstance(interval, int):
        options["val_check_interval"] = interval // phase.steps.batches_per_execution
    if not config.has_validation:
        options["limit_val_batches"] = 0
    # ours is one of the epochs' lines
    options["enable_progress_bar"] = any(isinstance(c, ProgressBar) for c in callbacks)
    if clip := config.trainer.get("gradient_clip_val"):
        algorithm = config.trainer.get("gradient_clip_algorithm") or "norm"
        callbacks.append(GradientClipping(clip, algorithm))
    # Trainer refuses them where a module takes its steps itself, as ours does
    taken_over = {"accumulate_grad_batches", "gradient_clip_val", "gradient_clip_algorithm"}
    of_trainer = {key: value for key, value in config.trainer.items() if key not in taken_over}
    build = instantiate({**_within(folder, of_trainer), **options}, _convert_="all")
    try:
        trainer = build(
            callbacks=[*callbacks, epoch_lines, checkpoints],
            logger=trackers,
            plugins=[AtomicCheckpointIO({checkpoints.folder: checkpoints.retained}), launched_by()],
            default_root_dir=folder,
        )
    except (
        MisconfigurationException,  # devices that are not there, say
        ValueError,
        ImportError,
        AttributeError,  # Lightning checks few types
        TypeError,
    ) as error:
        raise ConfigError(f"trainer: {first_line(error)}") from error
    if not isinstance(trainer.profiler, Profiler):  # pyright: ignore[reportAttributeAccessIssue]
        raise ConfigError(
            "trainer.profiler: should be 'simple', 'advanced', 'pytorch', or a Profiler's _target_"
        )
    return trainer


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


def monitor_of(config: Config) -> str | None:
    """What checkpoints are chosen by; on the validation part only, so never on the test part."""
    return f"val/{config.objective.metric}" if config.has_validation else None
