"""Import and build what a config names by ``_target_``: optimisers, schedules and spreads.

The check has read their source (``ablab.config.optimisation``); here they are imported.
"""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

from ablab.config.schema import Own
from ablab.errors import ConfigError, first_line


def import_target(target: str | Callable[..., Any]) -> Any:
    """Return the class or function that ``target`` names, or is.

    Raises:
        ConfigError: its module cannot be imported.
    """
    if not isinstance(target, str):
        return target
    module, _, name = target.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{target}: cannot be imported ({first_line(error)})") from error


def call_of(own: Own) -> Callable[..., Any]:
    """Return the function with its arguments, or an object of the class.

    Raises:
        ConfigError: the class refuses its arguments.
    """
    found = import_target(own.target)
    if not isinstance(found, type):
        return partial(found, **own.arguments)
    return build(found, own.label, **own.arguments)


def build(cls: type, label: str, *positional: Any, **arguments: Any) -> Any:
    """Return an object of ``cls``. Raises ConfigError, for ``label``, if it refuses to be built."""
    try:
        return cls(*positional, **arguments)
    except (TypeError, ValueError, RuntimeError, NotImplementedError) as error:
        raise ConfigError(f"{label}: {first_line(error)}") from error
