"""Signatures of classes read from their source text, so that a config is checked without imports.

Importing ``lightning.pytorch`` to learn what ``Trainer`` takes costs seconds, and importing what an
unchecked ``_target_`` names would run its code. So the file is found on ``sys.path`` and parsed.
"""

import ast
import importlib.util
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union

from pydantic import Strict, TypeAdapter

from lab.config import schema


class TargetNotFoundError(Exception):
    """A dotted path names no class or function that can be found in source."""


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
    _adapters: dict[str, TypeAdapter[Any]] = field(default_factory=dict, repr=False, compare=False)

    def validate(self, name: str, value: Any) -> None:
        """Raises pydantic's ValidationError for a value that argument ``name`` does not take."""
        if self.types[name] is Any:
            return
        if name not in self._adapters:  # making one takes longer than all that it validates
            self._adapters[name] = TypeAdapter(self.types[name])
        self._adapters[name].validate_python(value)


@dataclass(frozen=True)
class _Module:
    name: str
    is_package: bool
    body: list[ast.stmt] = field(repr=False)

    def resolve_relative(self, module: str | None, level: int) -> str:
        if level == 0:
            return module or ""
        parts = self.name.split(".")
        parts = parts[: len(parts) - level + self.is_package]
        return ".".join([*parts, *([module] if module else [])])


@lru_cache(maxsize=1024)
def signature_of(target: str) -> Signature:
    """Signature of the class or function that ``target`` (``package.module.Name``) names.

    Raises:
        TargetNotFoundError: no such module, or nothing of that name in it.
    """
    module_name, _, name = target.rpartition(".")
    if not module_name:
        raise TargetNotFoundError(f"'{target}' is not a dotted path to a class")
    module, node = _find(module_name, name)
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
    return ast.get_docstring(_find(module_name, name)[1]) or ""


def defaults_of(target: str) -> dict[str, str]:
    """Defaults of a function's keyword-only parameters, as they are written.

    Raises:
        TargetNotFoundError: no such module, or nothing of that name in it.
    """
    module_name, _, name = target.rpartition(".")
    arguments = _find(module_name, name)[1].args  # type: ignore[union-attr]
    pairs = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return {argument.arg: ast.unparse(default) for argument, default in pairs if default}


def _find(module_name: str, name: str) -> tuple[_Module, ast.ClassDef | ast.FunctionDef]:
    """Follow re-exports from ``module_name`` until the definition of ``name``."""
    seen: set[tuple[str, str]] = set()
    while (module_name, name) not in seen:
        seen.add((module_name, name))
        module = _parse(module_name)
        found = _definition(module, name)
        if isinstance(found, ast.ClassDef | ast.FunctionDef):
            return module, found
        if found is None:
            break
        module_name, name = found
    raise TargetNotFoundError(f"'{module_name}' defines no '{name}'")


def _definition(
    module: _Module, name: str
) -> ast.ClassDef | ast.FunctionDef | tuple[str, str] | None:
    """The definition of ``name`` in ``module``, or (module, name) of where it is imported from."""
    for node in _statements(module.body):
        match node:
            case ast.ClassDef() | ast.FunctionDef() if node.name == name:
                return node
            case ast.ImportFrom():
                source = module.resolve_relative(node.module, node.level)
                for alias in node.names:
                    if (alias.asname or alias.name) == name:
                        return source, alias.name
                    if alias.name == "*" and _exports(source, name):
                        return source, name
            case ast.Assign(targets=[ast.Name(id=assigned)], value=ast.Name(id=original)) if (
                assigned == name
            ):
                return module.name, original
    return None


def _exports(module_name: str, name: str) -> bool:
    try:
        return name in class_names(module_name)
    except TargetNotFoundError:  # a module that only exists when the package is built
        return False


def class_names(module_name: str) -> list[str]:
    """Names of the classes that a module defines or imports by name.

    Raises:
        TargetNotFoundError: no such module.
    """
    module = _parse(module_name)
    names = []
    for node in _statements(module.body):
        if isinstance(node, ast.ClassDef):
            names.append(node.name)
        elif isinstance(node, ast.ImportFrom):
            names += [alias.asname or alias.name for alias in node.names]
    return names


def _statements(body: list[ast.stmt]) -> list[ast.stmt]:
    """Top-level statements, those under ``if`` and ``try`` included."""
    flat: list[ast.stmt] = []
    for node in body:
        flat.append(node)
        if isinstance(node, ast.If | ast.Try):
            flat += _statements(node.body) + _statements(node.orelse)
    return flat


@lru_cache(maxsize=1024)
def _parse(module_name: str) -> _Module:
    top, *rest = module_name.split(".")
    try:
        spec = importlib.util.find_spec(top)  # of a top-level name: nothing is imported
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        raise TargetNotFoundError(f"no package '{top}' is installed")
    if spec.submodule_search_locations is None:
        path = Path(spec.origin or "")
    else:
        path = Path(next(iter(spec.submodule_search_locations))) / "__init__.py"
    for part in rest:
        folder = path.parent
        candidates = (folder / part / "__init__.py", folder / f"{part}.py")
        found = next((c for c in candidates if c.is_file()), None)
        if found is None or path.name != "__init__.py":
            raise TargetNotFoundError(f"no module '{module_name}'")
        path = found
    if not path.is_file():
        raise TargetNotFoundError(f"no module '{module_name}'")
    return _Module(module_name, path.name == "__init__.py", ast.parse(path.read_bytes()).body)


def _class_signature(module: _Module, node: ast.ClassDef) -> Signature:
    """From ``__init__`` or ``__new__``; ``**kwargs`` are followed to the base class."""
    methods = {m.name: m for m in node.body if isinstance(m, ast.FunctionDef)}
    method = methods.get("__init__") or methods.get("__new__")
    own = _function_signature(module, method, is_method=True) if method else None
    if own is not None and not own.accepts_any:
        return own
    types = dict(own.types) if own else {}
    required = set(own.required) if own else set()
    open_ended = own.accepts_any if own else False
    for base in node.bases:
        try:
            parent = _base_signature(module, base)
        except TargetNotFoundError:
            continue
        open_ended = parent.accepts_any
        types = {**parent.types, **types}
        if own is None:
            required |= parent.required
        break
    else:
        open_ended = False  # a root class that takes **kwargs takes those it reads from them
    return Signature(types, frozenset(required), True, open_ended)


def _ancestors(module: _Module, node: ast.ClassDef) -> frozenset[str]:
    found = {f"{module.name}.{node.name}"}
    for base in node.bases:
        try:
            found |= _ancestors(*_base_class(module, base))
        except TargetNotFoundError:  # computed, or compiled
            continue
    return frozenset(found)


def _base_signature(module: _Module, base: ast.expr) -> Signature:
    return _class_signature(*_base_class(module, base))


def _base_class(module: _Module, base: ast.expr) -> tuple[_Module, ast.ClassDef]:
    if isinstance(base, ast.Name):
        found_module, node = _find(module.name, base.id)
    elif isinstance(base, ast.Attribute):  # import package.module as alias; alias.Class
        found_module, node = _find(_imported(module, base.value), base.attr)
    else:
        raise TargetNotFoundError("a computed base class")
    if not isinstance(node, ast.ClassDef):
        raise TargetNotFoundError("a base that is no class")
    return found_module, node


def _imported(module: _Module, expression: ast.expr) -> str:
    dotted = ast.unparse(expression)
    for node in _statements(module.body):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.asname == dotted:
                    return alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == dotted:
                    return f"{module.resolve_relative(node.module, node.level)}.{alias.name}"
    return dotted


def _function_signature(module: _Module, node: ast.FunctionDef, *, is_method: bool) -> Signature:
    positional = [*node.args.posonlyargs, *node.args.args][is_method:]
    without_default = len(positional) - len(node.args.defaults)
    required = {a.arg for a in positional[: max(without_default, 0)]}
    required |= {
        a.arg
        for a, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
        if default is None
    }
    types = {a.arg: _type(a.annotation) for a in [*positional, *node.args.kwonlyargs]}
    if node.args.kwarg is not None:
        types |= dict.fromkeys(_read_from(node, node.args.kwarg.arg), Any)
    return Signature(
        types, frozenset(required), is_class=is_method, accepts_any=node.args.kwarg is not None
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


def _union(parts: list[Any]) -> Any:
    return Any if Any in parts else Union[tuple(parts)]  # noqa: UP007 (built at run time)
