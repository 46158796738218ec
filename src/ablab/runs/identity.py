"""The part of a config that says what a run computes."""

import hashlib
import json
from pathlib import Path
from typing import Any

# Settings that do not change what a run computes, but where it is kept and how it is watched.
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
# Settings of ``loading``, and arguments of a data class, that say how data are read.
_READING = ("workers", "pin_memory", "persistent_workers")
# Arguments of a data class by these names say where its data lie, or how they are read.
_PLACES = ("root", "path")
_HANDLING = ("cache", "workers")


def identity(config: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a resolved config that says what a run computes.

    Left out are paths, trackers and such, and where data lie: a plan that is run on another machine
    is the same plan. What the data contain is compared when a run is continued
    (``ablab.runs.resume``).
    """
    kept = {key: value for key, value in config.items() if key not in NOT_IDENTITY}
    data = {key: value for key, value in kept["data"].items() if key not in _HANDLING}
    for key in _PLACES:
        place = data.get(key)
        if place == config["paths"].get("data"):
            data.pop(key, None)  # the folder of all data; other keys say which data are used
        elif isinstance(place, str):
            data[key] = Path(place).name  # two files of one folder are different data
    kept["data"] = data
    if isinstance(config.get("loading"), dict):
        kept["loading"] = {k: v for k, v in config["loading"].items() if k not in _READING}
    return kept


def config_hash(config: dict[str, Any]) -> str:
    """Return the sha256 of ``identity(config)``; only the order of phases counts."""
    ordered = {**identity(config), "phases": list(config.get("phases", {}).items())}
    return hashlib.sha256(json.dumps(ordered, sort_keys=True).encode()).hexdigest()
