"""Which packages a config may name classes of, and classes that their source does not tell."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ablab import project
from ablab.config.source_reading.definitions import TargetNotFoundError, module_of
from ablab.config.source_reading.signatures import signature_of
from ablab.config.targets import component_signature

STOP = "from lightning.pytorch import Callback\nclass Stop(Callback):\n"
STOP += "    def __init__(self, after: int): ...\n"


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of package ``mine`` of a project, which is the working folder."""
    package = tmp_path / "project" / "src" / "mine"
    write_project(tmp_path / "project", package.name)
    monkeypatch.setattr(project, "_current", None)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path / "project")
    signature_of.cache_clear()
    module_of.cache_clear()
    yield package
    for name in [n for n in sys.modules if n.partition(".")[0] == "mine"]:
        del sys.modules[name]


def write_project(folder: Path, package: str) -> None:
    (folder / "src" / package).mkdir(parents=True)
    (folder / "src" / package / "__init__.py").write_text("")
    (folder / "src" / package / "parts.py").write_text(STOP)
    (folder / "conf").mkdir()
    (folder / "train.py").write_text("")


def test_a_class_of_the_project_is_allowed_and_not_imported(mine: Path) -> None:
    assert component_signature("mine.parts.Stop").required == {"after"}
    assert "mine.parts" not in sys.modules


def test_a_folder_within_the_project_is_the_projects(
    mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(mine)
    assert project.current().packages == ("mine",)


@pytest.mark.parametrize("record", ["run.json", "plan.json"])
@pytest.mark.parametrize("place", [".", "checkpoints"])
@pytest.mark.parametrize("working_folder", ["..", ".", "checkpoints"])
def test_a_strangers_run_folder_vouches_for_nothing(
    record: str,
    place: str,
    working_folder: str,
    mine: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = tmp_path / "downloads" / "run"
    write_project(run / place, "evil")
    (run / "checkpoints").mkdir(exist_ok=True)
    (run / record).write_text("{}")
    monkeypatch.chdir(run / working_folder)
    with pytest.raises(TargetNotFoundError, match="may not be built"):
        component_signature("evil.parts.Stop")
    assert not project.current().is_trusted
    assert not any(str(run) in path for path in sys.path)
    monkeypatch.chdir(tmp_path / "project")
    run.rename(tmp_path / "project" / "run")
    monkeypatch.chdir(tmp_path / "project" / "run" / working_folder)
    assert project.current().packages == ("mine",)


def test_other_packages_are_named_in_the_environment(
    mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "theirs.py").write_text(STOP)
    monkeypatch.syspath_prepend(tmp_path)
    remedy = r"project's src/, or name its package in the environment: ABLAB_ALLOWED_TARGETS="
    with pytest.raises(TargetNotFoundError, match=remedy):
        component_signature("theirs.Stop")
    monkeypatch.setenv("ABLAB_ALLOWED_TARGETS", "theirs")
    assert component_signature("theirs.Stop").required == {"after"}


HIDDEN = {
    "a decorator": "@decorated\nclass Stop(Callback):\n    pass\n",
    "a computed base": "class Stop(base()):\n    pass\n",
    "a computed class": "Stop = made()\n",
    "a module's own look-up": "def __getattr__(name):\n    return {'Stop': Base}[name]\n",
}


@pytest.mark.parametrize("source", HIDDEN.values(), ids=HIDDEN)
def test_a_class_that_its_source_does_not_tell_is_imported(source: str, mine: Path) -> None:
    (mine / "parts.py").write_text(
        "from lightning.pytorch import Callback\n"
        "from ablab.config.schema import Count\n"
        "class Base(Callback):\n"
        "    def __init__(self, after: Count, rule: 'Base | None' = None, **rest): ...\n"
        "def base(): return Base\n"
        "def made(): return type('Stop', (Base,), {})\n"
        f"def decorated(c): return made()\n{source}"
    )
    found = component_signature("mine.parts.Stop")
    assert (set(found.types), found.required) == ({"after", "rule"}, {"after"})
    assert "lightning.pytorch.callbacks.callback.Callback" in found.bases
    assert found.classes("rule") == {"mine.parts.Base"}
    found.validate("after", 3)
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        found.validate("after", 0)


def test_a_class_of_attrs_is_checked_by_its_fields(mine: Path) -> None:
    attrs = "import attrs\nfrom torch import nn\n@attrs.define(eq=False)\nclass Rule(nn.Module):\n"
    (mine / "parts.py").write_text(f"{attrs}    by: float\n    steps: int = 3\n")
    found = component_signature("mine.parts.Rule")
    assert (set(found.types), found.required) == ({"by", "steps"}, {"by"})
    with pytest.raises(ValueError, match="valid integer"):
        found.validate("steps", 2.5)


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("1 / 0\nStop = 1\n", "mine.parts.Stop", "importing 'mine.parts' fails with ZeroDivision"),
        ("Stop = 3\n", "mine.parts.Stop", "defines no class 'Stop'"),
        ("raise SystemExit\nclass Stop: ...\n", "mine.parts.Stp", "did you mean 'mine.parts.Stop'"),
        ("import subprocess\nStop = subprocess.Popen\n", "mine.parts.Stop", "is of subprocess"),
    ],
)
def test_what_is_not_there_is_refused(source: str, target: str, message: str, mine: Path) -> None:
    (mine / "parts.py").write_text(source)
    with pytest.raises(TargetNotFoundError, match=message):
        component_signature(target)


def test_a_class_of_another_package_is_never_imported(
    mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "theirs.py").write_text("raise SystemExit\n@f\nclass Stop: ...")
    (mine / "parts.py").write_text("from theirs import Stop")
    monkeypatch.syspath_prepend(tmp_path)
    for target in ("theirs.Stop", "mine.parts.Stop"):
        with pytest.raises(TargetNotFoundError, match="may not be built"):
            component_signature(target)
