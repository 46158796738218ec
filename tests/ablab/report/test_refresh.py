"""Jobs keep the tables of their plan up to date, and 10,000 of them do not write 10,000 times."""

import os
import time
from pathlib import Path

import pytest

from ablab.report import refresh
from ablab.report.table.plan_file import PLAN_FILE
from tests.ablab.report.plan_folders import LEVEL, write_plan


def test_tables_that_another_job_has_just_written_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = write_plan(
        tmp_path / "plan", lambda v, _, seed: {"rmse": LEVEL[str(v)] + seed}, variants=list(LEVEL)
    )

    def after(seconds: float) -> float:
        """Have a process of its own refresh the tables when they are ``seconds`` old."""
        monkeypatch.setattr(refresh, "_due", 0.0)
        os.utime(plan / "report.csv", (written := time.time() - seconds, written))
        refresh.refresh_tables(plan)
        return time.time() - (plan / "report.csv").stat().st_mtime

    (plan / "report.csv").touch()
    assert after(60) < 50
    with (plan / PLAN_FILE).open("a") as file:
        file.write(" " * 2**20)  # as of some 4,000 jobs
    assert after(60) > 50
    assert after(200) < 50
