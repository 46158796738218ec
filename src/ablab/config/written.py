"""Settings and variants as they are written on a command line."""

import contextlib
import re
import shlex
from collections.abc import Mapping
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException


def label_of(variant: str | None, settings: Mapping[str, Any]) -> str:
    return " ".join(
        [*([variant] if variant else []), *(f"{k}={shown(v)}" for k, v in settings.items())]
    )


def shown(value: Any) -> str:
    """A setting as the command line takes it, short."""
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
