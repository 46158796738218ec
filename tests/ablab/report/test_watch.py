"""``--watch``: a report that follows a running plan, and rests while nothing happens."""

import threading
import time
from pathlib import Path

import pytest

from ablab.report.__main__ import main
from ablab.report.table.tables import ReportTable
from ablab.report.watch import watch
from ablab.safety.folder_lock import locked
from tests.ablab.report.plan_folders import rmse, table_of, write_job, write_plan


def until(holds: object) -> None:
    deadline = time.monotonic() + 20
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_report_follows_a_plan_to_its_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_plan(tmp_path / "p", lambda *_: "missing", variants=["none", "l2"])
    written: list[float] = []
    ended: list[int] = []

    def write() -> ReportTable:
        written.append(time.monotonic())
        return table_of(folder)

    def follow() -> None:
        ended.append(watch(folder, folder / "report.html", write, poll=0.01))

    thread = threading.Thread(target=follow)
    with locked(folder):
        thread.start()
        until(lambda: len(written) == 1)
        time.sleep(0.3)
        assert len(written) == 1  # nothing has changed
        write_job(folder / "l2_seed0", "l2", {}, 0, rmse("l2", {}, 0))
        until(lambda: len(written) == 2)
    thread.join(timeout=20)
    assert ended == [0]
    out = capsys.readouterr().out
    assert "report.html#watch" in out
    assert "the plan has ended: 1 done, 5 missing" in out


def test_what_does_not_run_is_written_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_plan(tmp_path / "p", rmse, variants=["none", "l2"])
    assert main([str(folder), "--watch", "--output", str(folder / "report.md")]) == 0
    assert "no plan is running there: 6 done" in capsys.readouterr().out
    assert (folder / "report.md").read_text().startswith("# weight_decay")
    assert main([str(folder), str(folder), "--watch"]) == 2
    assert main([str(tmp_path), "--watch"]) == 2
    assert "no plan is there" in capsys.readouterr().err
