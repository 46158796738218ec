"""Notebooks are executed, small, about ablab and not beside it; each runs from a clean kernel."""

import ast
import base64
import io
import re
import runpy
import shutil
import subprocess
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from tests.launch import ROOT, environment, python

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MOST_BYTES = 300_000
# Plans of 50, 4 and 25 runs, a fine-tuned ResNet34 and random forests: `make notebooks` executes
# them.
LONG = (
    "02_weight_decay",
    "03_collaborative_filtering",
    "04_fine_tuning",
    "05_entity_embeddings",
    "06_ablation_from_plan_to_table",
)
HANGS_AFTER = 600  # seconds
ABSOLUTE_PATH = re.compile(
    r"(?<![\w.:/<])/(?:home|Users|root|tmp|usr|opt|var|mnt|private)/|\b[A-Z]:\\\\|site-packages"
)
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@cache
def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def faults(notebook: Any) -> list[str]:
    """What should not be in the outputs of a notebook that was executed from top to bottom."""
    found = []
    for count, cell in enumerate(code_cells(notebook), 1):
        if cell.execution_count != count:
            found.append(f"cell {cell.execution_count} stands where cell {count} should")
        for output in cell.outputs:
            if output.output_type == "error":
                found.append(f"cell {count} raised {output.ename}: {output.evalue}")
            elif output.get("name") == "stderr":
                found.append(f"cell {count} wrote to stderr: {output.text}")
    return found


def definitions(tree: ast.AST) -> set[str]:
    """Names of classes and functions at the top level."""
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.iter_child_nodes(tree) if isinstance(node, kinds)}


@cache
def names_in_lab() -> set[str]:
    trees = [ast.parse(file.read_text()) for file in (ROOT / "src" / "ablab").rglob("*.py")]
    return {name for tree in trees for name in definitions(tree) if not name.startswith("_")}


def python_of(notebook: Any) -> ast.Module:
    """The cells in Python, those of other languages and commands to the shell left out."""
    sources = [cell.source for cell in code_cells(notebook) if not cell.source.startswith("%%")]
    lines = "\n".join(sources).splitlines()
    return ast.parse("\n".join(line for line in lines if not re.match(r"\s*[!%]", line)))


def test_there_are_notebooks() -> None:
    assert len(NOTEBOOKS) >= 3
    numbers = [path.stem.partition("_")[0] for path in NOTEBOOKS]
    assert len(set(numbers)) == len(numbers)


@each_notebook
def test_executed_from_top_to_bottom_without_errors_or_warnings(path: Path) -> None:
    nbformat.validate(read(path))
    assert faults(read(path)) == []
    assert any(cell.outputs for cell in code_cells(read(path)))


@each_notebook
def test_small_and_without_what_changes_from_run_to_run(path: Path) -> None:
    assert path.stat().st_size < MOST_BYTES
    assert set(read(path).metadata) == {"kernelspec", "language_info"}
    assert [cell.metadata for cell in read(path).cells if cell.metadata] == []


@each_notebook
def test_names_no_place_on_the_machine_it_ran_on(path: Path) -> None:
    text = path.read_text()
    assert ABSOLUTE_PATH.findall(text) == []
    assert str(ROOT) not in text


@each_notebook
def test_what_it_takes_from_lab_is_there(path: Path) -> None:
    taken = [
        (node.module, alias.name)
        for node in ast.walk(python_of(read(path)))
        if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "ablab"
        for alias in node.names
    ]
    assert taken
    for module, name in taken:
        assert hasattr(import_module(str(module)), name), f"{module}.{name}"


@each_notebook
def test_defines_nothing_that_lab_has(path: Path) -> None:
    assert definitions(python_of(read(path))) & names_in_lab() == set()


@each_notebook
def test_the_index_lists_it(path: Path) -> None:
    assert f"]({path.name})" in (ROOT / "notebooks" / "README.md").read_text()


@pytest.mark.parametrize(
    ("cell", "fault"),
    [
        ({"execution_count": 2, "outputs": []}, "cell 2 stands where cell 1 should"),
        (
            {"outputs": [nbformat.v4.new_output("error", ename="ValueError", evalue="bad")]},
            "cell 1 raised ValueError: bad",
        ),
        (
            {"outputs": [nbformat.v4.new_output("stream", name="stderr", text="warning")]},
            "cell 1 wrote to stderr: warning",
        ),
    ],
)
def test_faults_are_found(cell: dict[str, Any], fault: str) -> None:
    cells = [nbformat.v4.new_code_cell(**{"execution_count": 1, **cell})]
    assert faults(nbformat.v4.new_notebook(cells=cells)) == [fault]


@pytest.mark.parametrize("text", ["/home/me/lab", " '/tmp/x", "C:\\\\Users", "/root/lab"])
def test_places_are_found(text: str) -> None:
    assert ABSOLUTE_PATH.search(text)
    assert not ABSOLUTE_PATH.search("https://host/home/page runs/tmp/a ../tmp/ </usr/>")


def test_a_picture_with_a_palette_looks_the_same_in_fewer_bytes() -> None:
    figure = Figure(figsize=(3, 2))
    figure.subplots().imshow([[0, 1], [2, 3]], cmap="viridis")
    png = io.BytesIO()
    figure.savefig(png, format="png")
    with_palette = runpy.run_path(str(ROOT / "notebooks" / "execute.py"))["with_palette"]
    fewer = base64.b64decode(with_palette(base64.b64encode(png.getvalue()).decode()))
    assert len(fewer) < len(png.getvalue()) / 2
    before, after = (
        np.asarray(Image.open(io.BytesIO(file)).convert("RGB")).astype(int)
        for file in (png.getvalue(), fewer)
    )
    assert abs(before - after).mean() < 1
    assert abs(before - after).max() < 32


@pytest.mark.slow
@pytest.mark.timeout(HANGS_AFTER + 30)
@pytest.mark.usefixtures("warm_starts")
@pytest.mark.parametrize(
    "path", [p for p in NOTEBOOKS if p.stem not in LONG], ids=lambda path: path.stem
)
def test_runs_from_a_clean_kernel(path: Path, tmp_path: Path) -> None:
    """In a copy of what it reads, so that no earlier run helps; its cells assert what it claims."""
    (ROOT / "data").mkdir(exist_ok=True)
    (tmp_path / "data").symlink_to(ROOT / "data")
    shutil.copy(ROOT / "train.py", tmp_path)
    for folder in ("conf", "docs", "notebooks", "src/lesson5"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    copy = tmp_path / "notebooks" / path.name
    done = execute(copy)
    assert done.returncode == 0, done.stderr
    assert faults(nbformat.read(copy, as_version=4)) == []


@pytest.mark.slow
def test_a_cell_that_raises_is_told_and_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")])
    path = tmp_path / "broken.ipynb"
    nbformat.write(notebook, path)
    before = path.read_bytes()
    done = execute(path)
    assert done.returncode == 1
    assert "broken.ipynb" in done.stderr
    assert "ZeroDivisionError" in done.stderr
    assert path.read_bytes() == before


def execute(path: Path) -> subprocess.CompletedProcess[str]:
    """``make notebooks`` for one file."""
    return subprocess.run(
        [python(), str(ROOT / "notebooks" / "execute.py"), str(path)],
        capture_output=True,
        text=True,
        timeout=HANGS_AFTER,
        env=environment(),
        check=False,
    )
