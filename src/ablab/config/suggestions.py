"""Suggest the word that a misspelt one may have meant."""

import difflib
from typing import Any

from ablab.config.written import leaves


def suggestion(word: str, candidates: list[str]) -> str:
    """Return ``; did you mean '…'?`` if a candidate is close to ``word``, else list them all."""
    close = difflib.get_close_matches(word, candidates, n=1, cutoff=0.6)
    if close:
        return f"; did you mean '{close[0]}'?"
    if 0 < len(candidates) <= 40:
        return f"; there is: {', '.join(sorted(candidates))}"
    return ""


def unknown_key(where: str, key: str, siblings: list[str], values: dict[str, Any]) -> str:
    """Return the fault of an unknown key, with the key that may have been meant.

    Args:
        where: the dotted path that was written, which ends in ``key``.
        siblings: the keys that there are in its place.
        values: the whole config, in which the key may stand elsewhere.
    """
    parent = where.rpartition(".")[0]
    close = difflib.get_close_matches(key, siblings, n=3, cutoff=0.6)
    best = max((_ratio(key, k) for k in close), default=0.0)
    stated = [k for k in close if _ratio(key, k) > best - 0.1 and _has(values, parent, k)]
    close = stated or close  # of two that are about as close, the one that the config has
    if close:
        return f"{where}: unknown key; did you mean '{'.'.join(filter(None, [parent, close[0]]))}'?"
    elsewhere = _elsewhere(key, where, values)
    if elsewhere:
        return f"{where}: unknown key; did you mean '{elsewhere}'?"
    return f"{where}: unknown key{suggestion(key, siblings)}"


def _elsewhere(key: str, where: str, values: dict[str, Any]) -> str | None:
    """Return the path of a key of (nearly) this name in another section, if there is one."""
    if key == "_target_":  # many sections have one
        return None
    paths: dict[str, list[str]] = {}
    for leaf, _ in leaves(values, in_lists=False):
        parts = leaf.split(".")
        for end in range(1, len(parts) + 1):
            path = ".".join(parts[:end])
            if path != where:
                paths.setdefault(parts[end - 1], []).append(path)
    close = difflib.get_close_matches(key, paths, n=1, cutoff=0.9)
    return paths[close[0]][0] if close else None


def _ratio(word: str, other: str) -> float:
    return difflib.SequenceMatcher(None, word, other).ratio()


def _has(values: Any, parent: str, key: str) -> bool:
    for part in filter(None, parent.split(".")):
        values = values.get(part) if isinstance(values, dict) else None
    return isinstance(values, dict) and key in values
