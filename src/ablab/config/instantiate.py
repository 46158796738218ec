"""Build what a config names by ``_target_``."""

from collections.abc import Mapping
from typing import Any

import hydra.utils
from hydra.errors import InstantiationException

from ablab.config.targets import component_signature


def instantiate(node: Mapping[str, Any], **given: Any) -> Any:
    """Return what Hydra's ``instantiate`` does with ``_convert_="all"``.

    Hydra makes a config of the node first, which takes longer than most constructors: it is asked
    only where the node has more than a target and plain values.

    Raises:
        InstantiationException: the target cannot be built.
        TargetNotFoundError: a config may not name it.
    """
    values = {key: value for key, value in node.items() if key != "_target_"}
    is_plain = not any(key.startswith("_") for key in values) and _is_plain([values, given])
    if not is_plain:
        return hydra.utils.instantiate(node, **given, _convert_="all")
    component_signature(node["_target_"])  # whether a config may name it, which Hydra asks too
    build: Any = hydra.utils.get_object(node["_target_"])
    try:
        return build(**{**_owned(values), **given})
    except Exception as error:  # as Hydra raises it
        fault = f"Error in call to target '{node['_target_']}':\n{error!r}"
        raise InstantiationException(fault) from error


def _is_plain(value: Any) -> bool:
    """Return whether there is nothing in ``value`` that Hydra would build or fill in."""
    if isinstance(value, dict):
        return "_target_" not in value and all(
            type(key) is str and _is_plain(inner) for key, inner in value.items()
        )
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    if type(value) is str:
        return "${" not in value
    return value is None or type(value) in (bool, int, float)


def _owned(value: Any) -> Any:
    """Return a copy of nested dictionaries and lists; tuples become lists, as Hydra has them."""
    if isinstance(value, dict):
        return {key: _owned(inner) for key, inner in value.items()}
    return [_owned(inner) for inner in value] if isinstance(value, list | tuple) else value
