"""Types that pydantic can check, made of annotations in source text."""

import ast
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_origin

from pydantic import Strict

from ablab.config import schema

_SCALARS = {
    "int": Annotated[int, Strict()],
    "float": Annotated[float, Strict()],
    "bool": Annotated[bool, Strict()],
    "str": Annotated[str, Strict()],
    "None": None,
    "list": list,
    "dict": dict,
}
_LISTS = {"list", "List", "Sequence", "Iterable", "Collection"}


def type_of(annotation: ast.expr | None) -> Any:
    """Return a type that pydantic can check; Any unless the annotation is made of plain parts."""
    match annotation:
        case ast.Constant(value=None):
            return None
        case ast.Constant(value=str(text)):
            return type_of(ast.parse(text, mode="eval").body)
        case ast.Name(id=name):
            ours = getattr(schema, name, Any)
            is_type = get_origin(ours) in (Annotated, Literal)  # and not what it has imported
            return _SCALARS.get(name, ours if is_type else Any)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _union([type_of(left), type_of(right)])
        case ast.Subscript(value=ast.Name(id="Optional"), slice=inner):
            return _union([type_of(inner), None])
        case ast.Subscript(value=ast.Name(id="Union"), slice=ast.Tuple(elts=parts)):
            return _union([type_of(p) for p in parts])
        case ast.Subscript(value=ast.Name(id="Literal"), slice=inner):
            parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            return Literal[tuple(p.value for p in parts if isinstance(p, ast.Constant))]
        case ast.Subscript(value=ast.Name(id=name), slice=inner) if name in _LISTS:
            return list[type_of(inner)]
        case ast.Subscript(value=ast.Name(id="tuple" | "Tuple"), slice=ast.Tuple(elts=parts)):
            if isinstance(parts[-1], ast.Constant) and parts[-1].value is Ellipsis:
                return list[type_of(parts[0])]
            return tuple[tuple(type_of(p) for p in parts)]
        case ast.Subscript(value=ast.Name(id="dict" | "Dict" | "Mapping")):
            return dict
    return Any


def expressions_in(annotation: ast.expr) -> Iterator[ast.expr]:
    """Yield the names in an annotation, those in quotes included."""
    for node in ast.walk(annotation):
        if isinstance(node, ast.Name | ast.Attribute):
            yield node
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            try:
                yield from expressions_in(ast.parse(node.value, mode="eval").body)
            except SyntaxError:  # The text is a value of a Literal.
                continue


def _union(parts: list[Any]) -> Any:
    return Any if Any in parts else Union[tuple(parts)]  # noqa: UP007 (built at run time)
