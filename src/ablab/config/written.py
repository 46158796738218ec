"""Settings and variants as they are written on a command line."""

from collections.abc import Mapping
from typing import Any


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
