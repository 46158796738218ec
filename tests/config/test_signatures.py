"""Signatures read from source must be those that Python itself reports."""

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from lab.config.signatures import signature_of
from lab.config.source import TargetNotFoundError

TARGETS = [
    "lightning.pytorch.Trainer",
    "lightning.pytorch.callbacks.EarlyStopping",
    "lightning.pytorch.callbacks.ModelCheckpoint",
    "torch.nn.MSELoss",
    "torch.nn.CrossEntropyLoss",
    "torch.nn.Linear",
    "torch.optim.Adam",
    "lab.models.collab.CollabFilter",
    "lab.models.tabular.EntityEmbedding",
    "lab.data.movielens.MovieLens100K",
    "lab.data.bikeshare.Bikeshare",
    "lab.data.table.Table",
    "lab.trackers.CSVTracker",
    "lab.trackers.WandbTracker",
]


@pytest.mark.parametrize("target", TARGETS)
def test_same_parameters_as_the_imported_class(target: str) -> None:
    module, _, name = target.rpartition(".")
    parameters = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    found = signature_of(target)
    assert set(found.types) == set(parameters)
    required = {p.name for p in parameters.values() if p.default is inspect.Parameter.empty}
    assert found.required == required


def test_keywords_handed_to_a_base_class_are_followed() -> None:
    found = signature_of("torchmetrics.MeanSquaredError")
    assert {"squared", "num_outputs", "dist_sync_on_step", "sync_on_compute"} <= set(found.types)
    assert not found.accepts_any


def test_a_class_made_by_new_is_read() -> None:
    assert {"task", "num_classes", "top_k"} <= set(signature_of("torchmetrics.Accuracy").types)


def test_a_module_is_not_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "hostile"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('executed')")
    (package / "part.py").write_text(
        "raise SystemExit\nclass A:\n    def __init__(self, x: int): ..."
    )
    monkeypatch.syspath_prepend(tmp_path)
    found = signature_of("hostile.part.A")
    assert set(found.types) == {"x"}
    assert found.required == {"x"}


@pytest.mark.parametrize(
    "target",
    ["nopackage.A", "lab.models.nothing.A", "lab.models.collab.Nothing", "lab", "torch.nn.L"],
)
def test_what_is_not_there_is_said(target: str) -> None:
    with pytest.raises(TargetNotFoundError):
        signature_of(target)


def test_types_are_read_from_annotations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = (
        "from typing import Literal, Optional\n"
        "def f(a: Optional[int], b: 'str | None', c: Literal['x', 'y'], d: Unknown,"
        " e: int | Unknown, g: list[int], h: tuple[float, float]): ..."
    )
    (tmp_path / "annotated.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    types = signature_of("annotated.f").types
    assert types["d"] is Any
    assert types["e"] is Any
    assert Any not in (types["a"], types["b"], types["c"], types["g"], types["h"])


CLASSES_OF_FIELDS = """
import dataclasses, attr, attrs
from dataclasses import KW_ONLY, InitVar, dataclass, field
from typing import ClassVar

@dataclass
class Plain:
    a: int
    b: str = 'x'
    c = 3
@dataclass
class Called(Plain):
    d: float = field(default=1.0)
    e: list = field(default_factory=list)
    f: int = field(init=False)
    g: ClassVar[int] = 3
    h: InitVar[int] = 0
@dataclasses.dataclass(frozen=True)
class Keyword:
    a: int = 0
    _: KW_ONLY
    b: int
class Undecorated(Called):
    z: int = 1
@dataclass
class Below(Undecorated):
    b: int = 5
    y: int = 2
@dataclass
class Overridden(Plain):
    a: int = field(init=False, default=1)
@dataclass(init=False)
class Own(Plain):
    def __init__(self, q): ...
@dataclass
class Written:
    a: int
    def __init__(self, q): ...
@attrs.define
class Define:
    a: int = attrs.field()
    _b: int = 2
    d: int = attrs.field(alias='delta', kw_only=True)
    e: int = attrs.field(init=False, default=1)
    @a.default
    def _a(self): return 1
@attrs.define
class Below_(Define):
    x: int = 0
@attrs.frozen
class Untyped:
    c = attrs.field(factory=list)
@attr.s
class Old:
    a = attr.ib()
    b: int = attr.ib(default=1)
    c: int = 3
@attr.s(auto_attribs=True)
class Auto(Old):
    z: int = 3
"""


@pytest.mark.parametrize("name", re.findall(r"^class (\w+)", CLASSES_OF_FIELDS, re.MULTILINE))
def test_fields_are_the_arguments_of_a_dataclass_or_of_attrs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("attrs")
    module = f"fields_of_{name.lower()}"
    (tmp_path / f"{module}.py").write_text(CLASSES_OF_FIELDS)
    monkeypatch.syspath_prepend(tmp_path)
    made = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    found = signature_of(f"{module}.{name}")
    assert set(found.types) == set(made)
    assert found.required == {p.name for p in made.values() if p.default is p.empty}


def test_fields_have_the_types_of_their_annotations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "from dataclasses import dataclass\n@dataclass\nclass Stop:\n    after: int\n"
    (tmp_path / "stop_after.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValidationError):
        signature_of("stop_after.Stop").validate("after", "three")
    signature_of("stop_after.Stop").validate("after", 3)
