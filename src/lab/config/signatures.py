"""Signatures of classes read from their source text, so that a config is checked without imports.

Importing ``lightning.pytorch`` to learn what ``Trainer`` takes costs seconds, and importing what an
unchecked ``_target_`` names would run its code. So the file is found on ``sys.path`` and parsed.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Annotated, Any, Literal, Union

from pydantic import Strict, TypeAdapter

from lab.config import schema
from lab.config.fields import Argument, arguments_of, has_fields
from lab.config.source import Module, TargetNotFoundError, base_class, definition_of


@dataclass(frozen=True)
class Signature:
    """What may be passed by keyword; ``Any`` where an annotation says nothing checkable."""

    types: dict[str, Any]
    required: frozenset[str]
    is_class: bool
    accepts_any: bool = False
    module: str = ""  # where it is defined, re-exports followed
    returns: str = ""  # of a function, as it is written
    bases: frozenset[str] = frozenset()  # "module.Class" of the class and all of its ancestors
    annotations: dict[str, tuple[Module, ast.expr]] = field(
        default_factory=dict, repr=False, compare=False
    )
    _adapters: dict[str, TypeAdapter[Any]] = field(default_factory=dict, repr=False, compare=False)

    def validate(self, name: str, value: Any) -> None:
        """Raises pydantic's ValidationError for a value that argument ``name`` does not take."""
        if self.types[name] is Any:
            return
        if name not in self._adapters:  # making one takes longer than all that it validates
            self._adapters[name] = TypeAdapter(self.types[name])
        self._adapters[name].validate_python(value)

    def classes(self, name: str) -> frozenset[str]:
        """Return the "module.Class" of each class that the annotation of argument ``name`` names.

        Those of Python's own library are left out: ``Callable`` and ``Sequence`` say how a value is
        used, and too many classes are of that kind.
        """
        if name not in self.annotations:
            return frozenset()
        module, annotation = self.annotations[name]
        found = set()
        for expression in _expressions(annotation):
            try:
                of, node = base_class(module, expression)
            except TargetNotFoundError:  # typing's words, and what is computed
                continue
            if of.name.partition(".")[0] not in sys.stdlib_module_names:
                found.add(f"{of.name}.{node.name}")
        return frozenset(found)


@lru_cache(maxsize=1024)
def signature_of(target: str) -> Signature:
    """Signature of the class or function that ``target`` (``package.module.Name``) names.

    Raises:
        TargetNotFoundError: no such module, or nothing of that name in it.
    """
    module_name, _, name = target.rpartition(".")
    if not module_name:
        raise TargetNotFoundError(f"'{target}' is not a dotted path to a class")
    module, node = definition_of(module_name, name)
    if isinstance(node, ast.ClassDef):
        signature, bases = _class_signature(module, node), _ancestors(module, node)
    else:
        signature, bases = _function_signature(module, node, is_method=False), frozenset[str]()
        returns = ast.unparse(node.returns) if node.returns else ""
        signature = replace(signature, returns=returns.strip("'\""))
    return replace(signature, module=module.name, bases=bases)


def docstring_of(target: str) -> str:
    """Raises TargetNotFoundError: no such module, or nothing of that name in it."""
    module_name, _, name = target.rpartition(".")
    return ast.get_docstring(definition_of(module_name, name)[1]) or ""


def defaults_of(target: str) -> dict[str, str]:
    """Defaults of a function's keyword-only parameters, as they are written.

    Raises:
        TargetNotFoundError: no such module, or nothing of that name in it.
    """
    module_name, _, name = target.rpartition(".")
    arguments = definition_of(module_name, name)[1].args  # type: ignore[union-attr]
    pairs = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return {argument.arg: ast.unparse(default) for argument, default in pairs if default}


def _class_signature(module: Module, node: ast.ClassDef) -> Signature:
    """From ``__init__`` or ``__new__``; ``**kwargs`` are followed to the base class."""
    methods = {m.name: m for m in node.body if isinstance(m, ast.FunctionDef)}
    if has_fields(node):
        return _fields_signature(arguments_of(module, node))
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
        open_ended = False  # a root class that takes **kwargs takes those it reads from them
    return Signature(types, frozenset(required), True, open_ended, annotations=annotations)


def _fields_signature(arguments: dict[str, Argument]) -> Signature:
    return Signature(
        {name: _type(argument.annotation) for name, argument in arguments.items()},
        frozenset(name for name, argument in arguments.items() if argument.is_required),
        is_class=True,
        annotations={
            name: (argument.module, argument.annotation)
            for name, argument in arguments.items()
            if argument.annotation
        },
    )


def _ancestors(module: Module, node: ast.ClassDef) -> frozenset[str]:
    found = {f"{module.name}.{node.name}"}
    for base in node.bases:
        try:
            found |= _ancestors(*base_class(module, base))
        except TargetNotFoundError:  # computed, or compiled
            continue
    return frozenset(found)


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
    types = {a.arg: _type(a.annotation) for a in named}
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
    """Names that the function takes out of its ``**kwargs`` by ``pop`` or ``get``."""
    names = set()
    for node in ast.walk(function):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id=receiver), attr="pop" | "get"),
                args=[ast.Constant(value=str(name)), *_],
            ) if receiver == kwargs:
                names.add(name)
    return names


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


def _type(annotation: ast.expr | None) -> Any:
    """A type that pydantic can check, as far as the annotation is made of plain parts; else Any."""
    match annotation:
        case ast.Constant(value=None):
            return None
        case ast.Constant(value=str(text)):
            return _type(ast.parse(text, mode="eval").body)
        case ast.Name(id=name):
            return _SCALARS.get(name, getattr(schema, name, Any))
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _union([_type(left), _type(right)])
        case ast.Subscript(value=ast.Name(id="Optional"), slice=inner):
            return _union([_type(inner), None])
        case ast.Subscript(value=ast.Name(id="Union"), slice=ast.Tuple(elts=parts)):
            return _union([_type(p) for p in parts])
        case ast.Subscript(value=ast.Name(id="Literal"), slice=inner):
            parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            return Literal[tuple(p.value for p in parts if isinstance(p, ast.Constant))]
        case ast.Subscript(value=ast.Name(id=name), slice=inner) if name in _LISTS:
            return list[_type(inner)]
        case ast.Subscript(value=ast.Name(id="tuple" | "Tuple"), slice=ast.Tuple(elts=parts)):
            if isinstance(parts[-1], ast.Constant) and parts[-1].value is Ellipsis:
                return list[_type(parts[0])]
            return tuple[tuple(_type(p) for p in parts)]
        case ast.Subscript(value=ast.Name(id="dict" | "Dict" | "Mapping")):
            return dict
    return Any


def _expressions(annotation: ast.expr) -> Iterator[ast.expr]:
    """Yield the names in an annotation, those in quotes included."""
    for node in ast.walk(annotation):
        if isinstance(node, ast.Name | ast.Attribute):
            yield node
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            try:
                yield from _expressions(ast.parse(node.value, mode="eval").body)
            except SyntaxError:  # of a Literal
                continue


def _union(parts: list[Any]) -> Any:
    return Any if Any in parts else Union[tuple(parts)]  # noqa: UP007 (built at run time)
