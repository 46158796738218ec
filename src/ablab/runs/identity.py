"""The part of a config that says what a run computes."""

import hashlib
import json
from collections.abc import Callable
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
PLACES = (*_PLACES, "cache")  # the keys within ``data``, at any depth, that name files and folders


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
    nested = {key: value for key, value in data.items() if not isinstance(value, str)}
    below = config["paths"].get("data")
    kept["data"] = data | with_places(nested, lambda place: _without_folder(place, below))
    if isinstance(config.get("loading"), dict):
        kept["loading"] = {k: v for k, v in config["loading"].items() if k not in _READING}
    return kept


def with_places(value: Any, change: Callable[[str], str], key: str = "") -> Any:
    """Return ``value`` with ``change(text)`` for each text, at any depth, under one of PLACES."""
    if isinstance(value, dict):
        return {name: with_places(inner, change, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [with_places(inner, change, key) for inner in value]
    return change(value) if key in PLACES and isinstance(value, str) else value


def _without_folder(place: str, folder: Any) -> str:
    """Return ``place`` as seen from the folder of all data; elsewhere, its last two components.

    Two, since the folder of a part is often called ``train``, whatever the data.
    """
    path = Path(place)
    if isinstance(folder, str) and path.is_relative_to(folder):
        return str(path.relative_to(folder))
    return "/".join(path.parts[-2:])


def config_hash(config: dict[str, Any]) -> str:
    """Return the sha256 of ``identity(config)``; only the order of phases counts."""
    ordered = {**identity(config), "phases": list(config.get("phases", {}).items())}
    return hashlib.sha256(json.dumps(ordered, sort_keys=True).encode()).hexdigest()
