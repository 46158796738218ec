"""A slimmed run does all but continue; a run that cannot be slimmed keeps all that it has."""

import shutil
from pathlib import Path
from typing import Literal

import pytest
import torch

import ablab
from ablab.errors import CheckpointError, RunFolderError
from ablab.report.__main__ import main as report
from ablab.runs.checkpoint_files import read_tensors
from ablab.runs.checkpoints import Manifest
from ablab.runs.record import RunRecord
from ablab.runs.slim import main, slim
from tests.launch import launch

CONSTANT = ["trainer.accelerator=cpu", "trainer.max_epochs=2", "logger=csv", "schedule=constant"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two finished runs and one that was interrupted."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("a", "b"):
        launch([*CONSTANT, f"name={name}"], folder / name)
    shutil.copytree(folder / "b", folder / "c")
    record = RunRecord.read(folder / "c")
    record.status, record.name = "interrupted", "c"
    record.write(folder / "c")
    return folder


@pytest.fixture
def runs(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "runs"))


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_weights_load_test_and_predict_as_before(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, left = ablab.load(runs / "a")[0].state_dict(), files(runs / "c")
    assert main([str(runs)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{runs / 'c'}: interrupted, so it is left as it is"
    assert lines[1].startswith("2 runs slimmed, ")
    assert files(runs / "c") == left
    (entry,) = Manifest(runs / "a" / "checkpoints").entries()
    assert read_tensors(runs / "a" / "checkpoints" / entry.file).keys() == {"state_dict"}
    assert len(list((runs / "a" / "checkpoints").glob("*.ckpt"))) == 1
    after = ablab.load(runs / "a")[0].state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)
    tested = RunRecord.read(runs / "a").metrics["test"]["rmse"]
    launch(["task=test", f"run={runs / 'a'}"], runs / "a")
    assert f"{tested:.4f}" in capsys.readouterr().out
    launch(["task=predict", f"run={runs / 'a'}"], runs / "a")
    assert (runs / "a" / "predictions.csv").is_file()


def test_slimming_again_changes_nothing(runs: Path) -> None:
    slim(runs, "weights")
    slimmed = files(runs)
    assert slim(runs, "weights")[-1] == "2 runs slimmed, 0 KiB freed"
    assert files(runs) == slimmed


def test_slimming_that_is_interrupted_can_be_repeated(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(RunRecord, "write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                slim(runs / "a", "weights")
    slim(runs / "a", "weights")
    (entry,) = Manifest(runs / "a" / "checkpoints").entries()
    checkpoints = RunRecord.read(runs / "a").checkpoints
    assert (entry.file, "weights") == (checkpoints["chosen"], checkpoints["kept"])
    ablab.load(runs / "a")


@pytest.mark.parametrize("keep", ["weights", "none"])
def test_an_interrupted_slimming_leaves_no_checkpoint_that_is_not_listed(
    keep: Literal["weights", "none"], runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            slim(runs / "a", keep)
    checkpoints = runs / "a" / "checkpoints"
    (checkpoints / "mine.ckpt").touch()
    slim(runs / "a", keep)
    listed = {entry.file for entry in Manifest(checkpoints).entries()}
    assert {path.name for path in checkpoints.glob("*.ckpt")} == {*listed, "mine.ckpt"}
    assert "last" not in RunRecord.read(runs / "a").checkpoints


def test_without_checkpoints_reports_stay_the_same(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report([str(runs), "--format", "csv"])
    before = capsys.readouterr().out
    slim(runs, "none")
    report([str(runs), "--format", "csv"])
    assert capsys.readouterr().out == before
    assert not list((runs / "a" / "checkpoints").glob("*.ckpt"))
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        ablab.load(runs / "a")


@pytest.mark.parametrize("keep", ["weights", "none"])
def test_a_slimmed_run_is_not_lengthened(keep: str, runs: Path) -> None:
    slim(runs, keep)  # pyright: ignore[reportArgumentType]
    slimmed = files(runs / "a")
    with pytest.raises(RunFolderError, match=r"max_epochs: the run was slimmed \(ablab slim\)"):
        launch(["task=fit", f"run={runs / 'a'}", "trainer.max_epochs=4"], runs / "a")
    assert files(runs / "a") == slimmed


def test_a_damaged_checkpoint_is_an_error_and_nothing_is_removed(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = runs / "a" / "checkpoints" / RunRecord.read(runs / "a").checkpoints["chosen"]
    chosen.write_bytes(chosen.read_bytes()[:-100])
    damaged = files(runs)
    assert main([str(runs)]) == 2
    assert capsys.readouterr().err.startswith(f"error: {chosen}: is damaged")
    assert files(runs) == damaged


def test_what_cannot_be_slimmed_is_an_error(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "none")]) == 2
    assert "none: neither it nor a folder below it holds a run.json" in capsys.readouterr().err
    shutil.move(runs / "a" / "checkpoints", tmp_path / "elsewhere")
    (runs / "a" / "checkpoints").symlink_to(tmp_path / "elsewhere")
    kept = files(tmp_path / "elsewhere")
    assert main([str(runs), "--keep", "none"]) == 2
    assert "is a link that leads out of the run folder" in capsys.readouterr().err
    assert files(tmp_path / "elsewhere") == kept
