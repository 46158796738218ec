"""Whole runs of tests/foreign: models, losses, transforms and loaders of other packages."""

import signal
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from ablab.runs.record import RunRecord
from tests.checks import assert_same_run
from tests.launch import FOREIGN, train, using


@pytest.fixture(autouse=True)
def foreign_project() -> Iterator[None]:
    with using(FOREIGN / "train.py"):
        yield


def record_of(package: str, overrides: list[str], folder: Path) -> RunRecord:
    """Return the record of a run, or skip the test where the package is missing."""
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed: pip install -e '.[foreign]'")
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


@pytest.mark.slow
def test_simclr_of_lightly_has_its_own_steps_and_optimiser(tmp_path: Path) -> None:
    record = record_of("lightly", ["experiment=simclr"], tmp_path / "run")
    assert record.config["optim"] is record.config["schedule"] is None
    assert record.metrics["chosen"]["val/loss"] < 4  # at random it is log 63 = 4.1
    used = record.optimizers["fit"]
    assert used["classes"] == ["torch.optim.sgd.SGD"]
    (scheduler,) = used["schedulers"]
    assert scheduler["class"] == "torch.optim.lr_scheduler.CosineAnnealingLR"
    assert record.data_resumes == "exact in mid-epoch"


@pytest.mark.slow
def test_nbeats_of_pytorch_forecasting_is_killed_and_continued(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    record = record_of("pytorch_forecasting", ["experiment=forecast"], whole)
    assert record.metrics["test"]["SMAPE"] < 0.1
    assert record.directions == {"SMAPE": "min"}
    used = record.optimizers["fit"]
    assert used["classes"] == ["torch.optim.adam.Adam"]
    assert used["schedulers"][0]["monitor"] == "val_loss"
    assert record.data_resumes == "from the epoch's start"
    kill = [
        "callbacks.kill._target_=foreign.kill.KillAt",
        *("callbacks.kill.step=8", f"callbacks.kill.flag={tmp_path / 'once'}"),
    ]
    done = train("experiment=forecast", *kill, f"hydra.run.dir={killed}", cwd=tmp_path)
    assert done.returncode == -signal.SIGKILL, done.stderr
    done = train("task=fit", f"run={killed}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert_same_run(killed, whole)
