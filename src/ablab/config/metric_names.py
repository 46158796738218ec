"""Names of metrics: as a module logs them, and without the stage that they are measured in."""

import re
from collections.abc import Mapping
from typing import Any

_STAGE = re.compile(r"^(val|valid|validation|test)[/_]")


def monitored(objective: Mapping[str, Any]) -> str:
    """Return the logged name of the metric of an ``objective`` section.

    A module with its own steps has no loss there, and names the metric as it logs it.
    """
    metric = str(objective["metric"])
    return metric if objective.get("loss") is None else f"val/{metric}"


def without_stage(name: str) -> str:
    """Return ``acc`` for ``val/acc``, ``val_acc`` or ``test/acc``."""
    return _STAGE.sub("", name)
