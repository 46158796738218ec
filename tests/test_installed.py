"""The engine without the lesson: from a wheel in a new project, and in a clone without it."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.clones import clone_into

LESSON = [
    *("src/lesson5", "tests/lesson5", "docs/lesson5", "notebooks"),
    *(f"conf/{group}" for group in ("data", "model", "experiment", "ablation", "interpret")),
    *("conf/objective", "conf/hydra"),
]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def run(*command: str | Path, cwd: Path, **variables: str) -> str:
    """Run a command without the paths of this repository; return its output."""
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**kept, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}"
    return done.stdout


def wheel_of(source: Path, folder: Path) -> Path:
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    run(*build, "-w", folder, source, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


def environment_with(wheel: Path, folder: Path) -> Path:
    """Install a wheel beside the libraries of this environment; return the new interpreter."""
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    (site,) = folder.glob("lib/python*/site-packages")
    # Entries of a .pth file are not searched for .pth files, so the editable install stays unseen.
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    install(wheel, site)
    return folder / "bin" / "python"


def install(wheel: Path, site: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--upgrade"]
    run(*command, "--target", site, wheel, cwd=site)


def test_a_new_project_from_the_wheel_alone(tmp_path: Path) -> None:
    """It trains; with a newer wheel its tests pass, unchanged."""
    source = clone_into(tmp_path / "source")
    (tmp_path / "first").mkdir()
    wheel = wheel_of(source, tmp_path / "first")
    assert_the_engine_alone(ZipFile(wheel).namelist(), source)
    python = environment_with(wheel, tmp_path / "environment")
    run(python, "-m", "ablab", "new", "heron", cwd=tmp_path)
    project = tmp_path / "heron"
    where = "import ablab; print(ablab.__file__)"
    assert str(tmp_path / "environment") in run(python, "-c", where, cwd=project)
    output = run(python, "train.py", "trainer.max_epochs=2", cwd=project)
    assert "accuracy" in output
    files = {p: p.read_bytes() for p in project.rglob("*.py")}

    pyproject = source / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace('version = "0.2', 'version = "0.3'))
    (tmp_path / "second").mkdir()
    newer = wheel_of(source, tmp_path / "second")
    assert "0.3" in newer.name
    (site,) = (tmp_path / "environment").glob("lib/python*/site-packages")
    install(newer, site)
    assert "2 passed" in run(python, "-m", "pytest", "-q", cwd=project)
    assert {p: p.read_bytes() for p in project.rglob("*.py")} == files


def assert_the_engine_alone(names: list[str], source: Path) -> None:
    """Assert that all files of the engine are there, and none of the others."""
    folders = (source / "src" / "ablab", source / "src" / "hydra_plugins")
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    missing = {str(path.relative_to(source / "src")) for path in files} - set(names)
    assert missing == {"ablab/README.md"}
    assert not [name for name in names if name.startswith(("lesson5", "benchmarks", "tests"))]


def test_the_engines_tests_pass_in_a_clone_without_the_lesson(
    tmp_path: Path, warm_commands: Path
) -> None:
    """All are collected, and those of the project's configs and packages and of a plan are run.

    So are runs that train, test and are reported. The others take minutes, and read nothing of the
    project but through these.
    """
    clone = clone_into(tmp_path / "clone", but=LESSON)
    assert not (clone / "src" / "lesson5").exists()
    path = os.pathsep.join(map(str, (clone / "src", clone)))
    # The repository's lesson is on the path of this environment.
    without = "import sys; sys.modules['lesson5'] = None; import pytest; sys.exit(pytest.main())"
    pytest_here = [warm_commands / "python", "-c", without, "-q", "-p", "no:cacheprovider"]
    plan = "test_a_job_is_what_the_same_words_on_the_command_line_are"
    names = ("test_project", "test_targets", "test_yaml_files", plan, "test_slim")
    output = run(*pytest_here, "-k", " or ".join(names), "tests/ablab", cwd=clone, PYTHONPATH=path)
    assert " passed" in output
