"""Signatures read from source must be those that Python itself reports."""

import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest

from ablab.config.source_reading.definitions import TargetNotFoundError
from ablab.config.source_reading.signatures import signature_of

TARGETS = [
    "lightning.pytorch.Trainer",
    "lightning.pytorch.callbacks.EarlyStopping",
    "lightning.pytorch.callbacks.ModelCheckpoint",
    "torch.nn.MSELoss",
    "torch.nn.CrossEntropyLoss",
    "torch.nn.Linear",
    "torch.optim.Adam",
    "toy.models.Net",
    "toy.data.Ratings",
    "ablab.data.tables.own_file.Table",
    "ablab.trackers.CSVTracker",
    "ablab.trackers.WandbTracker",
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
    [
        "nopackage.A",
        "ablab.models.nothing.A",
        "toy.models.Nothing",
        "ablab",
        "torch.nn.L",
    ],
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
