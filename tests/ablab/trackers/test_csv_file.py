"""The local history: whole after a kill, told to stop by a full disk, and rewound for a restart."""

import errno
import itertools
import os
from functools import partial
from pathlib import Path

import pytest

from ablab.errors import ConfigError, RunFolderError
from ablab.runs.history import read_history
from ablab.trackers import CSVTracker, RunInfo
from tests.forked import Process
from tests.launch import environment, wait_for


def attached(folder: Path, from_step: int = 0) -> CSVTracker:
    tracker = CSVTracker()
    tracker.attach(RunInfo(folder, "run", None, (), {}, from_step=from_step))
    return tracker


def test_columns_that_come_later_leave_gaps_before(tmp_path: Path) -> None:
    tracker = attached(tmp_path)
    tracker.log_metrics({"loss": 2.0}, 1)
    tracker.log_metrics({"val/rmse": 0.9, "loss": 1.5}, 2)
    tracker.log_metrics({"val/rmse": 0.8}, 3)
    assert (tmp_path / "metrics.csv").read_text().splitlines() == [
        "step,loss,val/rmse",
        "1,2.0,",
        "2,1.5,0.9",
        "3,,0.8",
    ]


def test_a_continued_run_goes_on_after_its_checkpoint(tmp_path: Path) -> None:
    tracker = attached(tmp_path)
    for step in (5, 10, 15):
        tracker.log_metrics({"loss": float(step)}, step)
    tracker = attached(tmp_path, from_step=10)
    tracker.log_metrics({"loss": 1.0}, 15)
    _, rows = read_history(tmp_path / "metrics.csv")
    kept = [(row["step"], row["loss"]) for row in rows]
    assert kept == [("5", "5.0"), ("10", "10.0"), ("15", "1.0")]


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_row_cut_short_is_left_out(tmp_path: Path, cut: int) -> None:
    tracker = attached(tmp_path)
    tracker.log_metrics({"loss": 1.0}, 1)
    whole = (tmp_path / "metrics.csv").read_bytes()
    tracker.log_metrics({"loss": 0.12345}, 2)
    path = tmp_path / "metrics.csv"
    path.write_bytes(path.read_bytes()[:-cut])
    attached(tmp_path, from_step=2)
    assert path.read_bytes() == whole


def log_on_and_on(folder: Path) -> None:
    tracker = attached(folder)
    for step in itertools.count(1):
        tracker.log_metrics({"loss": step / 3, f"late/{step // 500}": 1.0}, step)
        if step == 1000:
            (folder / "1000").touch()


def test_killed_at_any_moment_every_whole_row_stands(tmp_path: Path) -> None:
    with Process((), tmp_path, environment(), partial(log_on_and_on, tmp_path)) as process:
        wait_for((tmp_path / "1000").exists)
        process.kill()
    _, rows = read_history(tmp_path / "metrics.csv")
    assert [int(row["step"]) for row in rows] == list(range(1, len(rows) + 1))
    assert len(rows) >= 1000
    assert all(float(row["loss"]) == int(row["step"]) / 3 for row in rows)


def test_a_full_disk_stops_the_run_and_what_was_written_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = attached(tmp_path)
    tracker.log_metrics({"loss": 1.0}, 1)
    before = (tmp_path / "metrics.csv").read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunFolderError, match=r"No space left.*task=fit run="):
        tracker.log_metrics({"new": 1.0}, 2)
    assert (tmp_path / "metrics.csv").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.csv"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is always full")
def test_a_row_that_finds_the_disk_full(tmp_path: Path) -> None:
    tracker = attached(tmp_path)
    tracker.log_metrics({"loss": 1.0}, 1)
    (tmp_path / "metrics.csv").unlink()
    (tmp_path / "metrics.csv").symlink_to("/dev/full")
    with pytest.raises(RunFolderError, match="No space left"):
        tracker.log_metrics({"loss": 1.0}, 2)


@pytest.mark.parametrize("name", ["../other.csv", "/tmp/other.csv", "sub/metrics.csv"])
def test_a_file_outside_the_run_folder_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="a name in the run folder"):
        CSVTracker(file_name=name)
