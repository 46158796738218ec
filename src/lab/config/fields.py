"""What the ``__init__`` takes that dataclasses or attrs write for a class, read from its fields."""

import ast
from contextlib import suppress
from dataclasses import dataclass

from lab.config.source import Module, TargetNotFoundError, base_class

_DECORATORS = {"dataclass", "define", "frozen", "mutable", "s", "attrs"}
_OLD_ATTRS = {"s", "attrs"}  # of which only what is assigned an attr.ib() is a field
_FIELDS = {"field", "ib", "attrib"}
_DEFAULTS = {"default", "default_factory", "factory"}


@dataclass(frozen=True)
class Argument:
    """An argument of ``__init__``; ``module`` is where its annotation stands."""

    module: Module
    annotation: ast.expr | None
    is_required: bool


def has_fields(node: ast.ClassDef) -> bool:
    """Whether a decorator writes ``__init__`` from the fields of the class."""
    own = any(isinstance(m, ast.FunctionDef) and m.name == "__init__" for m in node.body)
    decorator = _decorator(node)
    return decorator is not None and not own and not _is_false(decorator, "init")


def arguments_of(module: Module, node: ast.ClassDef) -> dict[str, Argument]:
    """The arguments that the fields of the class and of its bases make, by their names."""
    found: dict[str, Argument] = {}
    for base in reversed(node.bases):
        with suppress(TargetNotFoundError):
            found |= arguments_of(*base_class(module, base))
    decorator = _decorator(node)
    if decorator is None:
        return found
    is_attrs = _name(decorator) != "dataclass"
    only_calls = _name(decorator) in _OLD_ATTRS and "auto_attribs" not in _keywords(decorator)
    with_default = {  # @x.default, of attrs
        _name(d.value)
        for method in node.body
        if isinstance(method, ast.FunctionDef)
        for d in method.decorator_list
        if isinstance(d, ast.Attribute) and d.attr == "default"
    }
    for statement in node.body:
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=value):
                pass
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if is_attrs:
                annotation = None
            case _:
                continue
        is_call = isinstance(value, ast.Call) and _name(value) in _FIELDS
        if (annotation is None or only_calls) and not is_call:
            continue
        kind = _name(annotation.value if isinstance(annotation, ast.Subscript) else annotation)
        if kind in ("ClassVar", "KW_ONLY"):
            continue
        if kind == "InitVar":
            annotation = annotation.slice if isinstance(annotation, ast.Subscript) else None
        given = _keywords(value) if is_call else {}
        argument = name.lstrip("_") if is_attrs else name
        if isinstance(alias := given.get("alias"), ast.Constant):
            argument = str(alias.value)
        has_default = given.keys() & _DEFAULTS if is_call else value is not None
        if is_call and _is_false(value, "init"):
            found.pop(argument, None)
        else:
            found[argument] = Argument(
                module, annotation, not (has_default or name in with_default)
            )
    return found


def _decorator(node: ast.ClassDef) -> ast.expr | None:
    return next((d for d in node.decorator_list if _name(d) in _DECORATORS), None)


def _name(expression: ast.expr | None) -> str:
    """``field``, of ``field``, ``dataclasses.field`` and ``dataclasses.field(…)``."""
    match expression:
        case ast.Call(func=function):
            return _name(function)
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
    return ""


def _keywords(expression: ast.expr | None) -> dict[str, ast.expr]:
    given = expression.keywords if isinstance(expression, ast.Call) else []
    return {keyword.arg: keyword.value for keyword in given if keyword.arg}


def _is_false(expression: ast.expr | None, keyword: str) -> bool:
    value = _keywords(expression).get(keyword)
    return isinstance(value, ast.Constant) and value.value is False
