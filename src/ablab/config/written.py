"""A config's values by dotted key, and as a command line writes them."""

import contextlib
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException


def leaves(values: Any, *, in_lists: bool = True, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted key and the value of each leaf of a nested config.

    Args:
        in_lists: go into lists as well (``skip.0``); otherwise a list is a value.
    """
    if values and isinstance(values, dict | list if in_lists else dict):
        for key, value in values.items() if isinstance(values, dict) else enumerate(values):
            yield from leaves(value, in_lists=in_lists, path=f"{path}.{key}" if path else str(key))
    elif path:
        yield path, values  # an empty mapping is a value


def label_of(variant: str | None, settings: Mapping[str, Any]) -> str:
    """Return the name of a job in tables: its variant, and ``key=value`` for each setting."""
    return " ".join(
        [*([variant] if variant else []), *(f"{k}={shown(v)}" for k, v in settings.items())]
    )


def shown(value: Any) -> str:
    """Return ``value`` as the command line takes it; floats with six digits."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list):
        return f"[{','.join(map(shown, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{k}:{shown(v)}" for k, v in value.items()) + "}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def assignment(key: str, text: str) -> str:
    """Return ``key=text`` as Hydra reads it back, in quotes where ``text`` is not plain."""
    plain = f"{key}={text}"
    with contextlib.suppress(HydraException):
        if OverridesParser.create().parse_override(plain).value() == text:
            return plain
    # Within quotes a backslash counts only before a quote.
    escaped = re.sub(r'(\\*)"', r"\1\1\"", text)
    escaped = re.sub(r"(\\+)$", r"\1\1", escaped)
    return f'{key}="{escaped}"'


def pasteable(key: str, text: str) -> str:
    """Return ``key=text`` as one word of a shell's command line."""
    return shlex.quote(assignment(key, text))
