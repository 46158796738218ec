"""``configure_optimizers``: named groups, explicit decay and a schedule for any LightningModule."""

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError
from torch import nn

from ablab.config.schema import Optim, OptimBase, Schedule, Section
from ablab.errors import ConfigError
from ablab.optim.optimizers import build_optimizer
from ablab.optim.schedules import GroupScheduler


def configure_optimizers(
    module: nn.Module,
    optim: Optim | Mapping[str, Any],
    schedule: Schedule | Mapping[str, Any] | str,
    total_steps: int | float,
) -> dict[str, Any]:
    """Return what a LightningModule's ``configure_optimizers`` returns.

    Args:
        module: its ``layer_groups()``, if it has them, are the layer groups; else all is one.
        optim: as the section ``optim`` of a config.
        schedule: as the section ``schedule`` of a config, or only its name.
        total_steps: the optimiser steps of the fit: ``self.trainer.estimated_stepping_batches``.

    Raises:
        ConfigError: the settings are wrong, or do not fit the module.
    """
    settings = optim if isinstance(optim, OptimBase) else _parsed("optim", Optim, optim)
    if isinstance(schedule, str):
        schedule = {"name": schedule}
    shape = schedule if isinstance(schedule, Section) else _parsed("schedule", Schedule, schedule)
    if not 1 <= total_steps < 2**63:
        raise ConfigError(
            f"total_steps: a schedule needs a fit of known length, not {total_steps} steps; set "
            f"max_epochs or max_steps of the Trainer"
        )
    optimizer = build_optimizer(module, settings)
    scheduler = GroupScheduler(optimizer, shape, int(total_steps))  # type: ignore[arg-type]
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def _parsed(where: str, kind: Any, values: Mapping[str, Any]) -> Any:
    try:
        return TypeAdapter(kind).validate_python(dict(values))
    except ValidationError as error:
        lines = [f"{'.'.join([where, *map(str, e['loc'])])}: {e['msg']}" for e in error.errors()]
        raise ConfigError("\n".join(lines)) from error
