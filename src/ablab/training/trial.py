"""Check that model, objective and data fit, before the first step."""

import warnings
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import torch

from ablab.config.schema import Config
from ablab.config.source_reading.signatures import signature_of
from ablab.data.module import TensorDataModule
from ablab.errors import ConfigError, first_line
from ablab.training.build import _look_at_targets
from ablab.training.module import SupervisedModule, uncompiled


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
