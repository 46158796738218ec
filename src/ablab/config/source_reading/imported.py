"""Signatures of classes that their source does not tell: imported, and inspected."""

import ast
import importlib
import inspect
from typing import Annotated, Any, get_origin

from ablab.config.source_reading.annotations import type_of
from ablab.config.source_reading.definitions import Module, TargetNotFoundError
from ablab.config.source_reading.signature import Signature
from ablab.config.source_reading.signatures import LIBRARIES
from ablab.errors import first_line

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def imported_signature(target: str) -> Signature:
    """Import the class or function that ``target`` names, which runs its package's code.

    Raises:
        TargetNotFoundError: it cannot be imported, or its module has nothing of that name.
    """
    module_name, _, name = target.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise TargetNotFoundError(f"importing '{module_name}' fails with {reason}") from error
    found = getattr(module, name, None)
    if not callable(found):
        raise TargetNotFoundError(f"'{module_name}' defines no class '{name}'")
    parameters, accepts_any = _parameters(found)
    written = {
        p.name: ast.parse(inspect.formatannotation(p.annotation), mode="eval").body
        for p in parameters.values()
        if p.annotation is not p.empty and get_origin(p.annotation) is not Annotated
    }
    types = {
        p.name: p.annotation
        if get_origin(p.annotation) is Annotated
        else type_of(written.get(p.name))
        for p in parameters.values()
    }
    is_class = isinstance(found, type)
    return Signature(
        types,
        frozenset(p.name for p in parameters.values() if p.default is p.empty),
        is_class=is_class,
        accepts_any=accepts_any,
        module=getattr(found, "__module__", None) or "",
        returns="" if is_class else str(inspect.formatannotation(_returned(found))).strip("'\""),
        bases=frozenset(f"{c.__module__}.{c.__qualname__}" for c in found.__mro__)
        if is_class
        else frozenset(),
        methods=frozenset(
            name
            for c in (found.__mro__ if is_class else ())
            if not c.__module__.startswith(LIBRARIES)
            for name in vars(c)
        ),
        annotations={name: (Module("", False, []), node) for name, node in written.items()},
    )


def _parameters(found: Any) -> tuple[dict[str, inspect.Parameter], bool]:
    """Return what ``found`` takes by keyword, and whether it takes any keyword besides.

    The ``**kwargs`` of an ``__init__`` are followed to that of the next class in order.
    """
    given: dict[str, inspect.Parameter] = {}
    later = (
        [c.__init__ for c in found.__mro__[1:-1] if "__init__" in vars(c)]
        if (isinstance(found, type))
        else []
    )
    for function in (found, *later):
        signature = _signature(function)
        if signature is None:
            return given, True
        named = {n: p for n, p in signature.parameters.items() if p.kind in _NAMED and n != "self"}
        given = {**named, **given}
        if not any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values()):
            return given, False
    return given, True


def _signature(function: Any) -> inspect.Signature | None:
    try:
        return inspect.signature(function, eval_str=True)
    except (NameError, TypeError, AttributeError, SyntaxError):  # of an annotation in quotes
        return inspect.signature(function)
    except ValueError:  # of a class that is compiled
        return None


def _returned(function: Any) -> Any:
    signature = _signature(function)
    return signature.return_annotation if signature else ""
