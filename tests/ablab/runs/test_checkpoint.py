"""Checkpoints: whole or absent, verified, safe to read, and the right ones kept."""

import errno
import json
import os
import pickle
import signal
import time
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from ablab.errors import CheckpointError
from ablab.runs.checkpoint_files import read_tensors, write_checkpoint
from ablab.runs.checkpoint_io import AtomicCheckpointIO
from ablab.runs.checkpoints import Entry, Manifest, load_checkpoint
from tests.forked import Process
from tests.launch import environment, wait_for
from tests.permissions import permissions_that_hold


def save(folder: Path, step: int, value: float = 0.0, **metrics: float) -> Path:
    path = folder / f"step={step:08d}.ckpt"
    content = {"global_step": step, "epoch": step, "metrics": metrics, "w": torch.full((8,), value)}
    AtomicCheckpointIO().save_checkpoint(content, path)
    return path


def test_round_trip(tmp_path: Path) -> None:
    path = save(tmp_path, 3, 1.5, **{"val/rmse": 0.9})
    assert torch.equal(load_checkpoint(path)["w"], torch.full((8,), 1.5))
    (entry,) = Manifest(tmp_path).entries()
    assert (entry.file, entry.step, entry.metrics) == (path.name, 3, {"val/rmse": 0.9})


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "remove"])
def test_a_damaged_checkpoint_is_refused_and_the_one_before_it_is_used(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    good, bad = save(tmp_path, 1), save(tmp_path, 2)
    content = bytearray(bad.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
        bad.write_bytes(content)
    elif damage == "remove":
        bad.unlink()
    else:
        bad.write_bytes(content[: len(content) // 2 if damage == "truncate" else 0])
    with pytest.raises(CheckpointError, match=bad.name):
        load_checkpoint(bad)
    entry = Manifest(tmp_path).newest_that_verifies()
    assert entry is not None
    assert entry.file == good.name
    assert bad.name in caplog.text


def test_a_checkpoint_that_may_not_be_read_does_not_count_as_damaged(tmp_path: Path) -> None:
    """A run that went on from an older one would remove it."""
    save(tmp_path, 1)
    newest = save(tmp_path, 2)
    newest.chmod(0)
    with permissions_that_hold(), pytest.raises(CheckpointError, match=r"2\.ckpt.*denied"):
        Manifest(tmp_path).newest_that_verifies()
    newest.chmod(0o600)
    assert Manifest(tmp_path).newest_that_verifies() == Manifest(tmp_path).entries()[-1]


@pytest.mark.timeout(20)
def test_a_pipe_in_place_of_a_checkpoint_or_their_list_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path, 1)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(CheckpointError, match="not a regular file"):
        load_checkpoint(path)
    with pytest.raises(CheckpointError, match="not a regular file"):
        read_tensors(path)
    (tmp_path / "manifest.json").unlink()
    os.mkfifo(tmp_path / "manifest.json")
    with pytest.raises(CheckpointError, match="not a regular file"):
        Manifest(tmp_path).entries()


def test_a_file_that_no_manifest_lists_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "step=1.ckpt"
    torch.save({"w": 1}, path)
    with pytest.raises(CheckpointError, match=r"manifest\.json"):
        load_checkpoint(path)


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch executed",)


def test_a_malicious_checkpoint_does_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.ckpt"
    sha256 = write_checkpoint({"payload": Malicious()}, path)  # a run refuses to write it
    Manifest(tmp_path).add(Entry("evil.ckpt", sha256, step=1, epoch=0, metrics={}))
    with pytest.raises(CheckpointError, match="plain values"):
        load_checkpoint(path)
    assert not (tmp_path / "executed").exists()
    pickle.loads(pickle.dumps(Malicious()))  # the payload does work where pickle is trusted
    assert (tmp_path / "executed").exists()


def compressed(path: Path, megabytes: int) -> None:
    """A checkpoint of zeros that ``torch.load`` reads, small on the disk and large in memory."""
    torch.save({"w": torch.zeros(megabytes * 2**18)}, path)
    with zipfile.ZipFile(path) as archive:
        contents = {entry: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, content in contents.items():
            archive.writestr(entry.filename, content)


def test_a_compressed_checkpoint_is_refused_by_its_declared_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "step=1.ckpt"
    compressed(path, megabytes=8)
    assert path.stat().st_size < 2**17
    torch.load(path, weights_only=True)  # which is how it would fill the memory
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(CheckpointError, match=r"compressed, and would take 8,\d{3},\d{3} bytes"):
        read_tensors(path)


def test_a_zip_archive_that_is_damaged_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "step=1.ckpt"
    path.write_bytes(b"PK\x03\x04 and no archive")
    with pytest.raises(CheckpointError, match="or is damaged"):
        read_tensors(path)


def test_a_full_disk_leaves_the_earlier_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = save(tmp_path, 1)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="No space left"):
        save(tmp_path, 2)
    monkeypatch.undo()
    assert load_checkpoint(good)["global_step"] == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["manifest.json", good.name]


def test_a_damaged_manifest_is_named(tmp_path: Path) -> None:
    save(tmp_path, 1)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"manifest\.json"):
        Manifest(tmp_path).entries()


def test_best_is_by_the_metric_and_never_a_nan(tmp_path: Path) -> None:
    for step, value in enumerate([0.9, 0.7, float("nan"), 0.7, 0.8]):
        save(tmp_path, step, **{"val/rmse": value})
    save(tmp_path, 9)  # in mid-epoch: nothing measured
    manifest = Manifest(tmp_path)
    lowest, highest = manifest.best("val/rmse", "min"), manifest.best("val/rmse", "max")
    assert lowest is not None
    assert highest is not None
    assert (lowest.step, highest.step) == (1, 0)
    assert manifest.best("val/mae", "min") is None


def test_removal_forgets_before_it_deletes(tmp_path: Path) -> None:
    path = save(tmp_path, 1)
    AtomicCheckpointIO().remove_checkpoint(path)
    assert not path.exists()
    assert json.loads((tmp_path / "manifest.json").read_text()) == {"checkpoints": []}


def test_what_does_not_stay_goes_with_the_writing_that_adds_the_newest(tmp_path: Path) -> None:
    io = AtomicCheckpointIO({tmp_path: lambda entries: entries[-2:]})
    elsewhere = tmp_path / "elsewhere"
    for step in range(4):
        for folder in (tmp_path, elsewhere):
            io.save_checkpoint({"global_step": step, "epoch": 0}, folder / f"{step}.ckpt")
    assert [e.step for e in Manifest(tmp_path).entries()] == [2, 3]
    assert sorted(p.name for p in tmp_path.glob("*.ckpt")) == ["2.ckpt", "3.ckpt"]
    assert len(Manifest(elsewhere).entries()) == 4


def write_on_and_on(folder: Path) -> None:
    io = AtomicCheckpointIO({folder: lambda entries: entries[-2:]})
    for step in range(1, 100000):
        content = {"global_step": step, "epoch": 0, "w": torch.full((200_000,), float(step))}
        io.save_checkpoint(content, folder / f"{step}.ckpt")


@pytest.mark.slow
def test_killed_in_mid_write_eight_times_the_newest_listed_is_whole(tmp_path: Path) -> None:
    for attempt in range(8):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        with Process((), folder, environment(), partial(write_on_and_on, folder)) as writer:
            wait_for(lambda f=folder: Manifest(f).entries())
            time.sleep(0.1 + 0.017 * attempt)
            writer.kill()
        assert writer.returncode == -signal.SIGKILL
        entries = Manifest(folder).entries()
        for entry in entries[-2:]:
            content = load_checkpoint(folder / entry.file)
            assert torch.equal(content["w"], torch.full((200_000,), float(entry.step)))
