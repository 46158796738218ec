"""Settings that classes rule out: a model with its own steps or optimisers, data with loaders."""

from collections.abc import Iterable, Iterator

from ablab.config.combinations import FULLY_SHARDED
from ablab.config.models import ModelClass, model_class
from ablab.config.nodes import NODES
from ablab.config.schema import Config
from ablab.config.targets import component_signature
from ablab.errors import ConfigError

_RUN_DATA = "ablab.data.contract.RunDataModule"


def model_faults(config: Config) -> list[str]:
    """Return a line for each setting that does not go with the class of the model."""
    model = model_class(config.model)
    if model is None:
        return []
    faults = list(_phase_faults(config, model))
    if config.optim is None and not model.has_own_optimizers:
        faults.append(f"optim: is required, since {model.name} configures no optimisers of its own")
    if config.schedule is None and not model.has_own_optimizers:
        faults.append("schedule: is required; schedule=constant keeps the learning rate")
    if not model.is_supervised:
        return [*faults, *_faults_of_own_steps(config, model)]
    if config.objective.loss is None:
        faults.append(
            f"objective.loss: is required, since {model.name} is a SupervisedModule and computes "
            f"none itself; choose objective=classification, objective=regression or your own"
        )
    return faults


def refuse_manual(config: Config) -> None:
    """Raise ConfigError for settings of optimiser steps that the model takes itself.

    The class has said so only when it was built: its source does not tell.
    """
    model = model_class(config.model)
    assert model is not None
    if faults := list(_faults_of_manual(config, model)):
        raise ConfigError("\n".join(faults))


def _faults_of_own_steps(config: Config, model: ModelClass) -> Iterator[str]:
    if config.objective.loss is not None or config.objective.metrics:
        yield (
            f"objective: {model.name} computes its loss and its metrics itself; leave out loss and "
            f"metrics: objective=logged objective.metric=val/NAME objective.mode=min"
        )
    if config.objective.train_metrics:
        yield (
            f"objective.train_metrics: {model.name} computes its metrics itself; log them in its "
            f"training_step"
        )
    needs = f"needs a SupervisedModule, and {model.name} has its own steps"
    if config.steps_per_execution > 1:
        yield f"steps_per_execution: {needs}; set steps_per_execution=1"
    if config.task == "lr_find":
        yield f"task: lr_find {needs}; compare rates with a plan instead"
    strategy = config.trainer.get("strategy")
    if isinstance(strategy, dict) and strategy.get("_target_") == FULLY_SHARDED:
        yield f"trainer.strategy: sharding {needs}; take trainer=ddp"
    if config.optim is not None and config.optim.weight_decay.mode == "l2_loss":
        yield (
            f"optim.weight_decay.mode: l2_loss {needs}, since it is a part of the loss; mode l2 "
            f"with twice the value has the same gradient"
        )
    if model.is_manual:
        yield from _faults_of_manual(config, model)


def _faults_of_manual(config: Config, model: ModelClass) -> Iterator[str]:
    if config.optim is not None:
        yield (
            f"model: {model.name} takes its optimiser steps itself (automatic_optimization is "
            f"False), so it must define configure_optimizers"
        )
    for key, most in (("accumulate_grad_batches", 1), ("gradient_clip_val", 0)):
        if (config.trainer.get(key) or 0) > most:
            yield (
                f"trainer.{key}: {model.name} takes its optimiser steps itself; do this in its "
                f"training_step"
            )


def _phase_faults(config: Config, model: ModelClass) -> Iterator[str]:
    for name, phase in config.phases.items():
        if phase.freeze_to != 0 and not model.has_layer_groups:
            yield (
                f"phases.{name}.freeze_to: {model.name} has no method layer_groups, so all its "
                f"layers are one group; define it, or leave freeze_to out"
            )
        for key in ("lr", "lr_spread", "schedule"):
            if getattr(phase, key) is not None and config.optim is None:
                yield f"phases.{name}.{key}: {_unused(model)}"


def refuse_unused(config: Config, keys: Iterable[str]) -> None:
    """Raise ConfigError if one of ``keys``, which the user has set, sets what is not used.

    These are optimisers of a model that configures its own, and ``loading`` of data with loaders
    of their own.
    """
    reasons: dict[str, str] = {}
    model = model_class(config.model)
    if model is not None and model.has_own_optimizers:
        reasons |= dict.fromkeys(("optim", "schedule"), _unused(model))
    target = config.data.get("_target_", "")
    bases = component_signature(target).bases if target else frozenset()
    if NODES["data"] in bases and _RUN_DATA not in bases:
        reasons["loading"] = (
            f"is not used, since {target.rpartition('.')[2]} has loaders of its own; set an "
            f"argument of the data instead (data.NAME=…)"
        )
    unused = [key for key in dict.fromkeys(keys) if key.partition(".")[0] in reasons]
    if unused:
        raise ConfigError("\n".join(f"{key}: {reasons[key.partition('.')[0]]}" for key in unused))


def _unused(model: ModelClass) -> str:
    return (
        f"is not used, since {model.name} configures its own optimisers; set an argument of the "
        f"model instead (model.NAME=…), or remove its configure_optimizers"
    )
