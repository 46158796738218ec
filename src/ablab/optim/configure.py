"""``configure_optimizers``: named groups, explicit decay and a schedule for any LightningModule.

This is the part of the package that is of use without the rest of it: a module in another
repository returns what the function gives, and has layer groups with their own rates, a weight
decay that means what its mode says, several optimisers in one, and states that resume exactly.
"""

from collections.abc import Mapping
from typing import Any

from torch import nn

from ablab.config.check import read_section
from ablab.config.schema import Optim, Section
from ablab.config.schema.schedule import Plateau, Schedule
from ablab.errors import ConfigError
from ablab.optim.optimizers import build_optimizer
from ablab.optim.scheduler import build_scheduler


def configure_optimizers(
    module: nn.Module,
    optim: Optim | Mapping[str, Any],
    schedule: Schedule | Mapping[str, Any] | str,
    total_steps: int | float,
) -> dict[str, Any]:
    """Return what a LightningModule's ``configure_optimizers`` returns.

    A ``_target_`` is the dotted path of a class or function that a config may name, or the class or
    function itself.

    Args:
        module: its ``layer_groups()``, if it has them, are the layer groups; else all is one.
        optim: as the section ``optim`` of a config.
        schedule: as the section ``schedule`` of a config, or only its name.
        total_steps: the optimiser steps of the fit: ``self.trainer.estimated_stepping_batches``.

    Raises:
        ConfigError: the settings are wrong, or do not fit the module.
    """
    settings: Optim = _section("optim", Optim, optim)
    named = {"name": schedule} if isinstance(schedule, str) else schedule
    shape: Schedule = _section("schedule", Schedule, named)
    if any(mode == "l2_loss" for mode in _modes(settings)):
        raise ConfigError(
            "optim.weight_decay.mode: l2_loss is a term of the loss, which only SupervisedModule "
            "adds; mode l2 with twice the value has the same gradient"
        )
    if not 1 <= total_steps < 2**63:
        raise ConfigError(
            f"total_steps: a schedule needs a fit of known length, not {total_steps} steps; set "
            f"max_epochs or max_steps of the Trainer"
        )
    optimizer = build_optimizer(module, settings)
    scheduler = build_scheduler(optimizer, shape, int(total_steps))
    applied: dict[str, Any] = {"scheduler": scheduler, "interval": "step"}
    if isinstance(shape, Plateau):
        if shape.monitor is None or shape.mode is None:
            raise ConfigError("schedule.plateau: monitor and mode say which metric it follows")
        applied |= {"interval": "epoch", "monitor": shape.monitor, "reduce_on_plateau": True}
    return {"optimizer": optimizer, "lr_scheduler": applied}


def _modes(optim: Optim) -> list[str]:
    own = [rule.weight_decay for rule in optim.rules if rule.weight_decay is not None]
    return [decay.mode for decay in (optim.weight_decay, *own)]


def _section(where: str, kind: Any, given: Section | Mapping[str, Any]) -> Any:
    return given if isinstance(given, Section) else read_section(where, kind, dict(given))
