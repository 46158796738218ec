"""Definitions found in source text, re-exports followed; nothing is imported for it."""

import ast
import importlib.util
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path


class TargetNotFoundError(Exception):
    """A dotted path names no class or function that can be found in source."""


@dataclass(frozen=True)
class Module:
    """The statements of a module's file."""

    name: str
    is_package: bool
    body: list[ast.stmt] = field(repr=False)

    def resolve_relative(self, module: str | None, level: int) -> str:
        """What ``from ..module import`` names here, with as many dots as ``level`` says."""
        if level == 0:
            return module or ""
        parts = self.name.split(".")
        parts = parts[: len(parts) - level + self.is_package]
        return ".".join([*parts, *([module] if module else [])])


def definition_of(module_name: str, name: str) -> tuple[Module, ast.ClassDef | ast.FunctionDef]:
    """Follow re-exports from ``module_name`` until the definition of ``name``.

    Raises:
        TargetNotFoundError: no such module, or nothing of that name in it.
    """
    seen: set[tuple[str, str]] = set()
    while (module_name, name) not in seen:
        seen.add((module_name, name))
        module = module_of(module_name)
        found = _definition(module, name)
        if isinstance(found, ast.ClassDef | ast.FunctionDef):
            return module, found
        if found is None:
            break
        module_name, name = found
    raise TargetNotFoundError(f"'{module_name}' defines no '{name}'")


def _definition(
    module: Module, name: str
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
    module = module_of(module_name)
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
def module_of(module_name: str) -> Module:
    """Raises TargetNotFoundError: it is not installed, or has no source."""
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
    return Module(module_name, path.name == "__init__.py", ast.parse(path.read_bytes()).body)


def base_class(module: Module, base: ast.expr) -> tuple[Module, ast.ClassDef]:
    """The definition of a base that ``module`` names.

    Raises:
        TargetNotFoundError: it is computed, no class, or not to be found.
    """
    if isinstance(base, ast.Name):
        found_module, node = definition_of(module.name, base.id)
    elif isinstance(base, ast.Attribute):  # import package.module as alias; alias.Class
        found_module, node = definition_of(_imported(module, base.value), base.attr)
    else:
        raise TargetNotFoundError("a computed base class")
    if not isinstance(node, ast.ClassDef):
        raise TargetNotFoundError("a base that is no class")
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
