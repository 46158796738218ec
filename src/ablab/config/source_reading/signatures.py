"""Read signatures of classes from their source text, so that a config is checked without imports.

Importing ``lightning.pytorch`` to learn what ``Trainer`` takes costs seconds, and importing what an
unchecked ``_target_`` names would run its code. So its file is found on ``sys.path`` and parsed.
"""

import ast
import builtins
import sys
from dataclasses import replace
from functools import lru_cache
from typing import Any

from ablab.config.source_reading.annotations import type_of
from ablab.config.source_reading.definitions import (
    Module,
    TargetNotFoundError,
    base_class,
    definition_of,
    source_package,
)
from ablab.config.source_reading.signature import Signature

LIBRARIES = ("lightning.", "torch.")  # whose classes define every hook, most of them to do nothing
_HARMLESS = {"final", "runtime_checkable"}  # decorators that leave a class as it is


@lru_cache(maxsize=1024)
def signature_of(target: str) -> Signature:
    """Return the signature of the class or function ``target`` (``package.module.Name``).

    Raises:
        TargetNotFoundError: there is no such module, or nothing of that name in it.
        SourceUnreadableError: it may be there, but the source does not tell.
    """
    module_name, _, name = target.rpartition(".")
    if not module_name:
        raise TargetNotFoundError(f"'{target}' is not a dotted path to a class")
    module, node = definition_of(module_name, name)
    if isinstance(node, ast.ClassDef):
        signature, bases = _class_signature(module, node), _ancestors(module, node)
        methods, readable = methods_in(module, node), _is_readable(module, node)
        signature = replace(signature, methods=methods, is_complete=readable)
    else:
        signature, bases = _function_signature(module, node, is_method=False), frozenset[str]()
        returns = ast.unparse(node.returns) if node.returns else ""
        signature = replace(signature, returns=returns.strip("'\""))
    return replace(signature, module=module.name, bases=bases)


@lru_cache(maxsize=1024)
def method_signature(target: str, name: str) -> Signature | None:
    """Return what a method of the class ``target`` takes; None if neither it nor a base has one.

    Raises:
        TargetNotFoundError: there is no such module, or nothing of that name in it.
    """
    module_name, _, class_name = target.rpartition(".")
    module, node = definition_of(module_name, class_name)
    return _method_signature(module, node, name) if isinstance(node, ast.ClassDef) else None


def _method_signature(module: Module, node: ast.ClassDef, name: str) -> Signature | None:
    for method in node.body:
        if isinstance(method, ast.FunctionDef) and method.name == name:
            return _function_signature(module, method, is_method=True)
    for base in node.bases:
        try:
            found = _method_signature(*base_class(module, base), name)
        except TargetNotFoundError:  # The base is computed or compiled.
            continue
        if found is not None:
            return found
    return None


def docstring_of(target: str) -> str:
    """Return the docstring of a class or function, "" if it has none.

    Raises:
        TargetNotFoundError: there is no such module, or nothing of that name in it.
    """
    module_name, _, name = target.rpartition(".")
    return ast.get_docstring(definition_of(module_name, name)[1]) or ""


def defaults_of(target: str) -> dict[str, str]:
    """Return the defaults of a function's parameters, as they are written.

    Raises:
        TargetNotFoundError: there is no such module, or nothing of that name in it.
    """
    module_name, _, name = target.rpartition(".")
    arguments = definition_of(module_name, name)[1].args  # type: ignore[union-attr]
    positional = [*arguments.posonlyargs, *arguments.args]
    with_default = positional[len(positional) - len(arguments.defaults) :]
    pairs = [
        *zip(with_default, arguments.defaults, strict=True),
        *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
    ]
    return {argument.arg: ast.unparse(default) for argument, default in pairs if default}


def _class_signature(module: Module, node: ast.ClassDef) -> Signature:
    """Read ``__init__`` or ``__new__``; follow ``**kwargs`` to the base class."""
    methods = {m.name: m for m in node.body if isinstance(m, ast.FunctionDef)}
    method = methods.get("__init__") or methods.get("__new__")
    own = _function_signature(module, method, is_method=True) if method else None
    if own is not None and not own.accepts_any:
        return own
    types = dict(own.types) if own else {}
    annotations = dict(own.annotations) if own else {}
    required = set(own.required) if own else set()
    open_ended = own.accepts_any if own else False
    for base in node.bases:
        try:
            parent = _base_signature(module, base)
        except TargetNotFoundError:
            continue
        open_ended = parent.accepts_any
        types = {**parent.types, **types}
        annotations = {**parent.annotations, **annotations}
        if own is None:
            required |= parent.required
        break
    else:
        open_ended = False  # A root class takes those of its **kwargs that it reads.
    return Signature(types, frozenset(required), True, open_ended, annotations=annotations)


def _ancestors(module: Module, node: ast.ClassDef) -> frozenset[str]:
    found = {f"{module.name}.{node.name}"}
    for base in node.bases:
        try:
            found |= _ancestors(*base_class(module, base))
        except TargetNotFoundError:  # The base is computed or compiled.
            continue
    return frozenset(found)


def methods_in(module: Module, node: ast.ClassDef) -> frozenset[str]:
    """Return the names that a class and its ancestors define, but not those of the libraries.

    ``automatic_optimization`` is among them if a method sets that attribute to False.
    """
    if module.name.startswith(LIBRARIES):
        return frozenset()
    found = {m.name for m in node.body if isinstance(m, ast.FunctionDef)}
    for inner in ast.walk(node):
        match inner:
            case ast.Assign(
                targets=[ast.Attribute(attr="automatic_optimization")],
                value=ast.Constant(value=False),
            ):
                found.add("automatic_optimization")
    for base in node.bases:
        try:
            found |= methods_in(*base_class(module, base))
        except TargetNotFoundError:  # The base is computed or compiled.
            continue
    return frozenset(found)


def _is_readable(module: Module, node: ast.ClassDef) -> bool:
    """Return whether no decorator and no base of a class hides what it takes and descends from."""
    decorators = {ast.unparse(decorator).rpartition(".")[2] for decorator in node.decorator_list}
    return decorators <= _HARMLESS and all(_is_readable_base(module, b) for b in node.bases)


def _is_readable_base(module: Module, base: ast.expr) -> bool:
    expression = base.value if isinstance(base, ast.Subscript) else base
    if not isinstance(expression, ast.Name | ast.Attribute):
        return False
    try:
        return _is_readable(*base_class(module, expression))
    except TargetNotFoundError:
        return source_package(module, expression) in {*sys.stdlib_module_names, *dir(builtins)}


def _base_signature(module: Module, base: ast.expr) -> Signature:
    return _class_signature(*base_class(module, base))


def _function_signature(module: Module, node: ast.FunctionDef, *, is_method: bool) -> Signature:
    positional = [*node.args.posonlyargs, *node.args.args][is_method:]
    without_default = len(positional) - len(node.args.defaults)
    required = {a.arg for a in positional[: max(without_default, 0)]}
    required |= {
        a.arg
        for a, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
        if default is None
    }
    named = [*positional, *node.args.kwonlyargs]
    types = {a.arg: type_of(a.annotation) for a in named}
    if node.args.kwarg is not None:
        types |= dict.fromkeys(_read_from(node, node.args.kwarg.arg), Any)
    return Signature(
        types,
        frozenset(required),
        is_class=is_method,
        accepts_any=node.args.kwarg is not None,
        annotations={a.arg: (module, a.annotation) for a in named if a.annotation},
    )


def _read_from(function: ast.FunctionDef, kwargs: str) -> set[str]:
    """Return the names that the function takes out of its ``**kwargs`` by ``pop`` or ``get``."""
    names = set()
    for node in ast.walk(function):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id=receiver), attr="pop" | "get"),
                args=[ast.Constant(value=str(name)), *_],
            ) if receiver == kwargs:
                names.add(name)
    return names
