"""How many cases there are, and what odd values and damaged files look like."""

import copy
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

LONG = settings.default is not None and settings.default.max_examples > 100

NODE = {"_target_": "torch.nn.ReLU"}
EVIL = {"_target_": "torch.load", "f": "x", "weights_only": False}
odd_text = st.one_of(
    st.sampled_from(["", " ", "0", "nan", "-1", "???", "${seed}", "${nothing}", "$\\{x}", "../x"]),
    st.sampled_from(["\x1b[2J", "<script>", "[bold]", "a\nb", "=1+1", "|", "\x00", "ß", "\ud800"]),
    st.text(max_size=8),
)
odd_number = st.one_of(
    st.sampled_from([0, 1, 2, 3, -1, 2**31, 2**32, 2**63, 10**30, 0.0, 0.5, 1.0, 1e-320, 1e308]),
    st.sampled_from([float("nan"), float("inf"), -float("inf")]),
    st.integers(-5, 40),
    st.floats(-2, 2),
)
odd_leaf = st.one_of(st.none(), st.booleans(), odd_number, odd_text)
odd_value = st.one_of(
    odd_leaf,
    st.lists(odd_leaf, max_size=3),
    st.dictionaries(st.sampled_from(["_target_", "kind", "name", "a", ""]), odd_leaf, max_size=2),
    st.sampled_from(
        [NODE, EVIL, [EVIL], {"a": EVIL}, {"_target_": "ablab.training.module.SupervisedModule"}]
    ),
).map(copy.deepcopy)
DELETED = object()
change = st.one_of(odd_value, st.just(DELETED))


def examples(number: int) -> settings:
    """``number`` cases, the same each time; in the profile ``long`` its multiple, others."""
    number *= settings.default.max_examples // 100 if LONG else 1
    return settings(
        max_examples=number,
        derandomize=not LONG,
        database=settings.default.database if LONG else None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )


def paths_of(value: Any, prefix: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Of every key and index at any depth."""
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    return [p for k, v in items for p in ((*prefix, k), *paths_of(v, (*prefix, k)))]


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy of ``value`` that has ``new`` at ``path``, as far as the path leads."""
    value = copy.deepcopy(value)
    node = value
    for key in path[:-1]:
        if isinstance(node, dict):
            node = node.setdefault(key, {})
        elif isinstance(node, list) and isinstance(key, int) and key < len(node):
            node = node[key]
        else:
            return value
    last = path[-1]
    if isinstance(node, dict):
        if new is DELETED:
            node.pop(last, None)
        else:
            node[last] = new
    elif isinstance(node, list) and isinstance(last, int) and last < len(node):
        node[last] = None if new is DELETED else new
    return value


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """``content`` cut short, with other bytes in it, or something else altogether."""
    how = draw(st.sampled_from(["cut", "bytes", "insert", "junk", "whole"]))
    if how == "whole" or not content:
        return content
    at = draw(st.integers(0, len(content) - 1))
    if how == "cut":
        return content[:at]
    if how == "junk":
        return draw(st.binary(max_size=40))
    piece = draw(st.binary(min_size=1, max_size=4))
    return content[:at] + piece + content[at + (len(piece) if how == "bytes" else 0) :]
