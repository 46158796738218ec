"""Build what a config names by ``_target_``."""

from collections.abc import Mapping
from typing import Any

import hydra.utils
from hydra.errors import InstantiationException

from ablab.config.targets import component_signature


def instantiate(node: Mapping[str, Any], **given: Any) -> Any:
    """Return what Hydra's ``instantiate`` does with ``_convert_="all"``.

    Hydra makes a config of the node first, which takes longer than most constructors. So it is
    asked only where the node has more than a target and plain values, or where the target is no
    class of the package that it is named by.

    Raises:
        InstantiationException: the target cannot be built.
        TargetNotFoundError: a config may not name the target. This checks it for plain nodes alone;
            the check of the config has looked at all targets.
    """
    values = {key: value for key, value in node.items() if key != "_target_"}
    build = None if any(key.startswith("_") for key in values) else _class_of(node)
    merges = any(isinstance(value, dict) for value in given.values())
    if build is None or merges or not _is_plain(values) or not _is_plain(list(given.values())):
        return hydra.utils.instantiate(node, **given, _convert_="all")
    try:
        return build(**{**_owned(values), **given})
    except Exception as error:  # as Hydra raises it
        fault = f"Error in call to target '{node['_target_']}':\n{error!r}"
        raise InstantiationException(fault) from error


def _class_of(node: Mapping[str, Any]) -> Any:
    """Return the class that a node names, or None if Hydra has to say what it is."""
    target = node.get("_target_")
    if not isinstance(target, str):
        return None
    component_signature(target)  # raises where a config may not name it
    try:
        found = hydra.utils.get_object(target)
    except Exception:  # Hydra tells it.
        return None
    is_own = isinstance(found, type) and found.__module__.split(".")[0] == target.split(".")[0]
    return found if is_own else None


def _is_plain(value: Any) -> bool:
    """Return whether there is nothing in ``value`` that Hydra would build or fill in."""
    if isinstance(value, dict):
        return "_target_" not in value and all(
            type(key) is str and _is_plain(inner) for key, inner in value.items()
        )
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    if type(value) is str:
        return "${" not in value and value != "???"
    return value is None or type(value) in (bool, int, float)


def _owned(value: Any) -> Any:
    """Return a copy of nested dictionaries and lists; tuples become lists, as Hydra has them."""
    if isinstance(value, dict):
        return {key: _owned(inner) for key, inner in value.items()}
    return [_owned(inner) for inner in value] if isinstance(value, list | tuple) else value
