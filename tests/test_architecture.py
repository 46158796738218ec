"""The four rules of the layout: what may import what, and what the engine must not name."""

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from ablab.project import ENGINE_CONF
from tests.conftest import SHARING
from tests.launch import ROOT

SRC = ENGINE_CONF.parents[1]
LEVELS = [  # a room imports from its own level and from those below it
    {"command", "ablation", "interpret", "testing", "__main__", "__init__"},
    {"training"},
    {"report", "trackers"},
    {"runs"},
    {"data", "optim"},
    {"config"},
    {"findings", "figures", "terminal", "project", "safety", "errors"},
]
LEVEL = {room: number for number, rooms in enumerate(LEVELS) for room in rooms}
COMMON_WORDS = {"weights", "dropout", "layers", "compile"}  # of other things as well


@cache  # not at the top: each worker of pytest would wait for it
def modules(package: str) -> dict[str, ast.Module]:
    return {
        ".".join(path.relative_to(SRC).with_suffix("").parts): ast.parse(path.read_text())
        for path in sorted((SRC / package).rglob("*.py"))
        if "template" not in path.parts
    }


def imports_of(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name their package"
            module = str(node.module)
            yield from (f"{module}.{a.name}" for a in node.names) if module == "ablab" else [module]
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


@cache
def arrows() -> list[tuple[str, str, str]]:
    """Return which room imports from which, and the module that does."""
    found = {
        (room_of(module), room_of(imported), module)
        for module, tree in modules("ablab").items()
        for imported in imports_of(tree)
        if imported.partition(".")[0] == "ablab" and room_of(module) != room_of(imported)
    }
    return sorted(found)


def test_every_room_has_its_level() -> None:
    assert {room_of(module) for module in modules("ablab")} == LEVEL.keys()


def test_arrows_point_down() -> None:
    up = [arrow for arrow in arrows() if LEVEL[arrow[0]] > LEVEL[arrow[1]]]
    assert not up


def test_rooms_form_no_circle() -> None:
    graph: dict[str, set[str]] = {}
    for room, other, _ in arrows():
        graph.setdefault(room, set()).add(other)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(error.args[1])}")


def test_modules_form_no_circle() -> None:
    """Of imports at the top of a module: one inside a function is made when all are loaded."""
    all_modules = {**modules("ablab"), **modules("lesson5")}
    graph = {
        module: {
            imported
            for node in tree.body
            if isinstance(node, ast.Import | ast.ImportFrom)
            for imported in imports_of(ast.Module([node], []))
            if imported in all_modules
        }
        for module, tree in all_modules.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(error.args[1])}")


def test_the_engine_imports_no_lesson() -> None:
    lesson = {path.name for path in SRC.iterdir() if path.is_dir()} - {"ablab", "hydra_plugins"}
    found = {
        (module, imported)
        for module, tree in modules("ablab").items()
        for imported in imports_of(tree)
        if imported.partition(".")[0] in lesson
    }
    assert not found


def test_the_engine_names_no_argument_of_a_model() -> None:
    models = [
        node
        for package in SRC.iterdir()
        if package.is_dir() and package.name not in ("ablab", "hydra_plugins")
        for tree in modules(package.name).values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and any(isinstance(b, ast.Name) and b.id == "SupervisedModule" for b in node.bases)
    ]
    arguments = {
        argument.arg
        for model in models
        for method in model.body
        if isinstance(method, ast.FunctionDef) and method.name == "__init__"
        for argument in [*method.args.args, *method.args.kwonlyargs]
    } - {"self", *COMMON_WORDS}
    named = {
        (module, node.value)
        for module, tree in modules("ablab").items()
        if room_of(module) != "data"  # whose classes offer sizes by the names that models use
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and node.value in arguments
    }
    assert not named


def test_the_files_whose_tests_stay_together_are_there() -> None:
    assert [file for file in SHARING if not (ROOT / file).is_file()] == []


def test_no_file_is_a_drawer() -> None:
    names = {path.stem for path in Path(SRC).rglob("*.py")}
    assert not names & {"utils", "util", "common", "misc", "helpers"}
