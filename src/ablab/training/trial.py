"""Check that model, objective and data go together, before the first step."""

import warnings
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

import torch
from lightning.fabric.utilities.data import sized_len
from torch import Tensor, nn

from ablab import terminal
from ablab.config.schema import Config, Objective
from ablab.config.targets import component_signature
from ablab.data.contract import RunDataModule
from ablab.errors import ConfigError, DataError, first_line
from ablab.training.metrics import named_values
from ablab.training.module import SupervisedModule

_MOST_NUMBERS = 1000  # of a metric


def own_sizes(config: Config, data: RunDataModule) -> dict[str, Any]:
    """Return the sizes that the config sets, and that would otherwise be the data's."""
    return {key: config.model[key] for key in data.sizes if key in config.model}


def refuse_smaller_sizes(own: dict[str, Any], sizes: dict[str, Any]) -> None:
    """Raise ConfigError for a size that leaves some of the data out of range."""
    faults = [
        f"model.{key}: {value} is too small: the data have {sizes[key]}; leave the setting out"
        for key, value in own.items()
        if not _at_least(value, sizes[key])
    ]
    if faults:
        raise ConfigError("\n".join(faults))


def _at_least(own: Any, size: Any) -> bool:
    if isinstance(size, list):
        return isinstance(own, list) and len(own) == len(size) and all(map(_at_least, own, size))
    return isinstance(own, int) and own >= size


def check_fits(config: Config, sizes: dict[str, Any]) -> None:
    """Raise ConfigError unless the model takes the data's sizes and needs no others."""
    target = config.model["_target_"]
    signature = component_signature(target)
    unknown = sizes.keys() - signature.types.keys()
    missing = signature.required - sizes.keys() - config.model.keys()
    if missing or (unknown and not signature.accepts_any):
        wants = f"needs {', '.join(sorted(missing))}" if missing else "does not take them"
        have = ", ".join(sorted(sizes)) or "no sizes"
        remedy = "set model.ARGUMENT=…, or choose another model with model=NAME"
        raise ConfigError(
            f"model: {target} does not fit these data, which have {have}; it {wants}; "
            f"{remedy if missing else 'choose another model with model=NAME'}"
        )


def check_on_two_rows(config: Config, model: SupervisedModule, data: RunDataModule) -> None:
    """Try model, loss and metrics on two training rows, and leave the model as it was.

    Raises:
        ConfigError: the model cannot take these rows, or the objective cannot take the model's
            outputs and these targets.
        DataError: all training targets are the same.
    """
    if config.objective.train_metrics and sized_len(data.training_part()) is None:
        raise ConfigError(
            "objective.train_metrics: the training part is a stream without a length, which may "
            "have no end; give its data set a __len__, or set it to false"
        )
    batch = data.trial_batch()
    if batch is None:
        return
    if isinstance(batch, Mapping) and type(model).split_batch is SupervisedModule.split_batch:
        raise ConfigError(
            f"model: {type(model).__name__} takes batches (*inputs, target), and these data give "
            f"dictionaries of {', '.join(map(str, batch))}; override its method split_batch"
        )
    inputs, target = model.split_batch(batch)
    model.eval()
    try:
        with torch.no_grad(), uncompiled(model):  # compiling for two rows would not pay
            output = model(*inputs)
    except RuntimeError as error:
        own = {k: v for k, v in own_sizes(config, data).items() if v != data.sizes[k]}
        if not own:
            raise
        said = ", ".join(f"{key}={value}" for key, value in own.items())
        raise ConfigError(
            f"model: with {said} it does not fit these data, which have "
            f"{', '.join(f'{key} {data.sizes[key]}' for key in own)}; leave the setting out "
            f"({first_line(error)})"
        ) from error
    try:
        # What torch warns of here is an error a line later, or would warn again in training.
        with torch.no_grad(), warnings.catch_warnings(action="ignore"):
            loss = model.loss_function(output, target)
            model.evaluation_metrics.update(model.activation(output), target)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        raise ConfigError(
            f"objective: does not fit outputs {_described(output)} and targets "
            f"{_described(target)} ({first_line(error)}); choose another with objective=…"
        ) from error
    else:
        _set_metric_shapes(model, output, target)
        _refuse_several_numbers(config.objective, loss, model.several)
    finally:
        model.evaluation_metrics.reset()
        model.train()
    targets = data.training_targets()
    if targets is not None:
        _check_targets(model, targets)


def _set_metric_shapes(model: SupervisedModule, output: Tensor, target: Tensor) -> None:
    """Tell the model which metrics are of several numbers.

    Raises:
        ConfigError: a metric gives a number for each row, or too many, or several where runs are
            compared by it.
    """
    prediction = model.activation(output)
    for name in model.metric_names:
        metric = model.evaluation_metrics[name]
        with warnings.catch_warnings(action="ignore"), suppress(RuntimeError, ValueError):
            numbers = len(named_values(name, metric.compute()))
            metric.reset()
            metric.update(prediction[:1], target[:1])
            if len(named_values(name, metric.compute())) != numbers:
                raise ConfigError(
                    f"objective.metrics.{name}: gives a number for each row; set it to average "
                    f"over rows"
                )
            if numbers > _MOST_NUMBERS:
                raise ConfigError(
                    f"objective.metrics.{name}: gives {numbers:,} numbers, which metrics.csv would "
                    f"have as columns; see them in an interpretation (interpret.NAME._target_=…)"
                )
            if numbers > 1:
                model.several.add(name)


def _refuse_several_numbers(objective: Objective, loss: Any, several: Collection[str]) -> None:
    """Raise ConfigError if the loss, or the metric that compares runs, gives several numbers."""
    if isinstance(loss, Tensor) and loss.numel() != 1:
        raise ConfigError(
            f"objective.loss: returns {loss.numel()} numbers for two rows, but must return one; "
            f"set it to average over rows"
        )
    if objective.metric in several:
        raise ConfigError(
            f"objective.metric: '{objective.metric}' gives several numbers, and runs are compared "
            f"by one; add a metric with average: macro, for example"
        )


def _described(tensor: torch.Tensor) -> str:
    kind = str(tensor.dtype).removeprefix("torch.")
    return f"of {kind}" + (f" for {tensor.shape[1]} classes" if tensor.dim() > 1 else ", one a row")


def _check_targets(model: SupervisedModule, targets: Tensor) -> None:
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
    if model.output_range is None:
        return
    ends = torch.tensor(model.output_range, dtype=torch.float32)
    low, high = sorted(model.activation(ends).tolist())
    if least < low or most > high or most - least < (high - low) / 4:
        terminal.say(
            f"the model predicts from {low:g} to {high:g}, but the training targets go from "
            f"{least:g} to {most:g}; choose a range for it that is a little wider than the targets"
        )


def uncompiled(model: nn.Module) -> AbstractContextManager[object]:
    """Run compiled parts of ``model`` as they are written, within a ``with`` block."""
    compiled = any(module._compiled_call_impl is not None for module in model.modules())
    # Setting the stance imports the compiler, which takes seconds, so this is asked first.
    return torch.compiler.set_stance("force_eager") if compiled else nullcontext()
