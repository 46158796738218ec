"""Read from the source of a model's class what it brings: its own steps, its own optimisers.

A ``SupervisedModule`` leaves steps, objective and optimisers to the engine. Any other
LightningModule computes its loss and logs its metrics itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ablab.config.source_reading.definitions import TargetNotFoundError
from ablab.config.targets import component_signature

SUPERVISED = "ablab.training.module.SupervisedModule"


@dataclass(frozen=True)
class ModelClass:
    """The class of ``model._target_``; ``methods`` are those that it does not only inherit from
    Lightning."""

    name: str
    is_supervised: bool
    methods: frozenset[str]

    @property
    def has_own_optimizers(self) -> bool:
        return not self.is_supervised and "configure_optimizers" in self.methods

    @property
    def is_manual(self) -> bool:
        """Return whether its training step takes the optimiser steps."""
        return not self.is_supervised and "automatic_optimization" in self.methods

    @property
    def has_layer_groups(self) -> bool:
        return self.is_supervised or "layer_groups" in self.methods


def model_class(node: Any) -> ModelClass | None:
    """Return what the class of a model's node brings, or None if the node names none."""
    target = node.get("_target_") if isinstance(node, Mapping) else None
    if not isinstance(target, str):
        return None
    try:
        signature = component_signature(target)
    except TargetNotFoundError:
        return None
    return ModelClass(target.rpartition(".")[2], SUPERVISED in signature.bases, signature.methods)
