"""What a misspelt word may have meant."""

import difflib
from collections.abc import Iterator
from typing import Any


def suggestion(word: str, candidates: list[str]) -> str:
    """``; did you mean …?`` where something is close, else what there is."""
    close = difflib.get_close_matches(word, candidates, n=1, cutoff=0.6)
    if close:
        return f"; did you mean '{close[0]}'?"
    if 0 < len(candidates) <= 40:
        return f"; there is: {', '.join(sorted(candidates))}"
    return ""


def unknown_key(where: str, key: str, siblings: list[str], values: dict[str, Any]) -> str:
    parent = where.rpartition(".")[0]
    close = difflib.get_close_matches(key, siblings, n=3, cutoff=0.6)
    best = max((_ratio(key, k) for k in close), default=0.0)
    stated = [k for k in close if _ratio(key, k) > best - 0.1 and _has(values, parent, k)]
    close = stated or close  # of two that are about as close, the one that the config has
    if close:
        return f"{where}: unknown key; did you mean '{'.'.join(filter(None, [parent, close[0]]))}'?"
    elsewhere = [p for p in _paths(values) if p.rpartition(".")[2] == key and p != where]
    if elsewhere and key != "_target_":  # many have one
        return f"{where}: unknown key; did you mean '{elsewhere[0]}'?"
    return f"{where}: unknown key{suggestion(key, siblings)}"


def _ratio(word: str, other: str) -> float:
    return difflib.SequenceMatcher(None, word, other).ratio()


def _has(values: Any, parent: str, key: str) -> bool:
    for part in filter(None, parent.split(".")):
        values = values.get(part) if isinstance(values, dict) else None
    return isinstance(values, dict) and key in values


def _paths(values: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(values, dict):
        for key, value in values.items():
            yield f"{prefix}{key}"
            yield from _paths(value, f"{prefix}{key}.")
