"""Whole runs of tests/foreign: models, losses, transforms and loaders of other packages."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ablab.runs.record import RunRecord
from tests.launch import FOREIGN, train, using


@pytest.fixture(autouse=True)
def foreign_project() -> Iterator[None]:
    with using(FOREIGN / "train.py"):
        yield


def record_of(package: str, overrides: list[str], folder: Path) -> RunRecord:
    """Return the record of a run, or skip the test where the package is missing."""
    pytest.importorskip(package, reason=f"{package} is not installed (pip install -e .[foreign])")
    done = train(*overrides, f"hydra.run.dir={folder}", cwd=folder.parent)
    assert done.returncode == 0, done.stderr
    return RunRecord.read(folder)


@pytest.mark.slow
def test_a_vit_of_timm_learns_by_muon_and_adamw(tmp_path: Path) -> None:
    record = record_of("timm", ["optim=muon", "optim.lr=1e-2"], tmp_path / "run")
    assert record.metrics["test"]["accuracy"] > 0.6  # of four classes
    used = record.optimizers["fit"]
    assert used["classes"] == ["torch.optim.Muon", "torch.optim.adamw.AdamW"]
    assert used["groups"][0]["name"] == "blocks/Muon"
