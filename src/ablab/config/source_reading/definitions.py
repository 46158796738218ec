"""Find the definition of a class or function in source text, through re-exports; import nothing."""

import ast
import importlib.util
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.machinery import PathFinder
from pathlib import Path


class TargetNotFoundError(Exception):
    """A dotted path names no class or function."""


class SourceUnreadableError(TargetNotFoundError):
    """The class or function may be there, but only the imported module can tell."""


@dataclass(frozen=True)
class Module:
    """The statements of a module's file."""

    name: str
    is_package: bool
    body: list[ast.stmt] = field(repr=False)

    def resolve_relative(self, module: str | None, level: int) -> str:
        """Return the module of ``from ..module import``, where ``level`` counts the dots."""
        if level == 0:
            return module or ""
        parts = self.name.split(".")
        parts = parts[: len(parts) - level + self.is_package]
        return ".".join([*parts, *([module] if module else [])])


def definition_of(module_name: str, name: str) -> tuple[Module, ast.ClassDef | ast.FunctionDef]:
    """Follow re-exports from ``module_name`` until the definition of ``name``.

    Raises:
        TargetNotFoundError: there is no such module, or nothing of that name in it.
        SourceUnreadableError: the module has no source, or computes what it calls ``name``.
    """
    seen: set[tuple[str, str]] = set()
    while (module_name, name) not in seen:
        seen.add((module_name, name))
        module = module_of(module_name)
        found = _definition(module, name)
        if isinstance(found, ast.ClassDef | ast.FunctionDef):
            return module, found
        if found is None:
            if _computes(module, name):
                raise SourceUnreadableError(f"'{module_name}' computes '{name}' when imported")
            break
        module_name, name = found
    raise TargetNotFoundError(f"'{module_name}' defines no '{name}'")


def _definition(
    module: Module, name: str
) -> ast.ClassDef | ast.FunctionDef | tuple[str, str] | None:
    """Return the definition of ``name`` in ``module``, or the (module, name) it comes from."""
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


def _computes(module: Module, name: str) -> bool:
    """Return whether ``module`` binds ``name`` by other means than a definition or an import."""
    return any(
        (isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store))
        or (isinstance(node, ast.FunctionDef) and node.name == "__getattr__")
        for statement in _statements(module.body)
        if not isinstance(statement, ast.ClassDef)
        for node in ast.walk(statement)
    )


def _exports(module_name: str, name: str) -> bool:
    try:
        return name in class_names(module_name)
    except TargetNotFoundError:  # The module only exists when its package is built.
        return False


def class_names(module_name: str) -> list[str]:
    """Return the names of the classes that a module defines or imports by name.

    Raises:
        TargetNotFoundError: there is no such module, or it has no source.
    """
    module = module_of(module_name)
    names = []
    for node in _statements(module.body):
        if isinstance(node, ast.ClassDef):
            names.append(node.name)
        elif isinstance(node, ast.ImportFrom):
            names += [alias.asname or alias.name for alias in node.names]
    return names


def _statements(body: list[ast.stmt]) -> list[ast.stmt]:
    """Return the top-level statements, with those under ``if`` and ``try``."""
    flat: list[ast.stmt] = []
    for node in body:
        flat.append(node)
        if isinstance(node, ast.If | ast.Try):
            flat += _statements(node.body) + _statements(node.orelse)
    return flat


@lru_cache(maxsize=1024)
def module_of(module_name: str) -> Module:
    """Find and parse the file of a module, without importing the packages that it is in.

    Raises:
        TargetNotFoundError: it is not installed.
        SourceUnreadableError: it has no source.
    """
    top, *rest = module_name.split(".")
    try:
        spec = importlib.util.find_spec(top)  # imports nothing for a name without dots
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        raise TargetNotFoundError(f"no package '{top}' is installed")
    name = top
    for part in rest:
        name = f"{name}.{part}"
        within = spec.submodule_search_locations
        spec = PathFinder.find_spec(name, list(within)) if within is not None else None
        if spec is None:
            raise TargetNotFoundError(f"no module '{module_name}'")
    if spec.origin is None or not spec.origin.endswith(".py"):
        raise SourceUnreadableError(f"no module '{module_name}' with source")
    is_package = spec.submodule_search_locations is not None
    return Module(module_name, is_package, ast.parse(Path(spec.origin).read_bytes()).body)


def base_class(module: Module, base: ast.expr) -> tuple[Module, ast.ClassDef]:
    """Return the definition of the base class ``base`` of a class in ``module``.

    Raises:
        TargetNotFoundError: the base is computed, is no class, or cannot be found.
    """
    if isinstance(base, ast.Subscript):  # Dataset[Sample]
        base = base.value
    if isinstance(base, ast.Name):
        found_module, node = definition_of(module.name, base.id)
    elif isinstance(base, ast.Attribute):  # as after "import package.module as alias"
        found_module, node = definition_of(_imported(module, base.value), base.attr)
    else:
        raise TargetNotFoundError("the base class is computed")
    if not isinstance(node, ast.ClassDef):
        raise TargetNotFoundError("the base is no class")
    return found_module, node


def _imported(module: Module, expression: ast.expr) -> str:
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


def source_package(module: Module, expression: ast.expr) -> str:
    """Return the top-level package that a name in ``module`` is imported from, else the name."""
    first = ast.Name(ast.unparse(expression).partition(".")[0])
    return _imported(module, first).partition(".")[0]
