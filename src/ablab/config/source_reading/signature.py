"""The arguments of a class or function, read from its source text."""

import ast
import sys
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter

from ablab.config.source_reading.annotations import expressions_in
from ablab.config.source_reading.definitions import Module, TargetNotFoundError, base_class


@dataclass(frozen=True)
class Signature:
    """The keyword arguments of a class or function; of type ``Any`` where none can be checked."""

    types: dict[str, Any]
    required: frozenset[str]
    is_class: bool
    accepts_any: bool = False
    module: str = ""  # the module of its definition, through re-exports
    returns: str = ""  # a function's return annotation, as written
    bases: frozenset[str] = frozenset()  # "module.Class" of the class and all of its ancestors
    methods: frozenset[str] = frozenset()  # what a class and its ancestors define (see methods_in)
    is_complete: bool = True  # False: a decorator or a computed base may change all of this
    annotations: dict[str, tuple[Module, ast.expr]] = field(
        default_factory=dict, repr=False, compare=False
    )
    _adapters: dict[str, TypeAdapter[Any]] = field(default_factory=dict, repr=False, compare=False)
    _classes: dict[str, frozenset[str]] = field(default_factory=dict, repr=False, compare=False)

    def validate(self, name: str, value: Any) -> None:
        """Raise pydantic's ValidationError for a value that argument ``name`` does not take."""
        if self.types[name] is Any:
            return
        if name not in self._adapters:  # Making one takes longer than validating.
            self._adapters[name] = TypeAdapter(self.types[name])
        self._adapters[name].validate_python(value)

    def classes(self, name: str) -> frozenset[str]:
        """Return the "module.Class" of each class that the annotation of argument ``name`` names.

        Those of Python's own library are left out: ``Callable`` and ``Sequence`` say how a value is
        used, and too many classes are of that kind.
        """
        if name not in self._classes:  # A plan asks for each of its jobs.
            self._classes[name] = self._read_classes(name)
        return self._classes[name]

    def _read_classes(self, name: str) -> frozenset[str]:
        if name not in self.annotations:
            return frozenset()
        module, annotation = self.annotations[name]
        found = set()
        for expression in expressions_in(annotation):
            try:
                of, node = base_class(module, expression)
            except TargetNotFoundError:  # It is of typing, or computed.
                continue
            if of.name.partition(".")[0] not in sys.stdlib_module_names:
                found.add(f"{of.name}.{node.name}")
        return frozenset(found)
