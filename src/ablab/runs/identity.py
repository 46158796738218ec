"""The part of a config that says what a run computes."""

import hashlib
import json
from typing import Any

# Where a run is kept and how it is watched does not change what it computes.
NOT_IDENTITY = (
    "paths",
    "run",
    "task",
    "test",
    "lr_find",
    "logger",
    "interpret",
    "checkpoints",
    "threads",
    "steps_per_execution",
    "error_if_nonfinite",
)


def identity(config: dict[str, Any]) -> dict[str, Any]:
    """The part of a resolved config that says what a run computes: no paths, trackers and such."""
    kept = {key: value for key, value in config.items() if key not in NOT_IDENTITY}
    kept["data"] = {key: value for key, value in kept["data"].items() if key != "cache"}
    if kept["data"].get("root") == config["paths"].get("data"):  # else it says which data these are
        del kept["data"]["root"]
    return kept


def config_hash(config: dict[str, Any]) -> str:
    """sha256 of ``identity(config)``, in which the order of phases counts, and no other."""
    ordered = {**identity(config), "phases": list(config.get("phases", {}).items())}
    return hashlib.sha256(json.dumps(ordered, sort_keys=True).encode()).hexdigest()
