"""What a job costs beside its fit, from records with known times."""

import pytest
from benchmarks.job_overhead import overheads

from ablab.errors import RunFolderError
from ablab.runs.record import RunRecord


def record(started: float, ended: float, fit: float) -> RunRecord:
    return RunRecord(
        name="n",
        status="done",
        config={},
        config_hash="",
        overrides=[],
        objective={},
        seeds={},
        started=f"2026-01-01T00:00:{started:06.3f}+00:00",
        ended=f"2026-01-01T00:00:{ended:06.3f}+00:00",
        seconds={"fit": fit},
    )


def test_from_end_to_end_less_the_fit() -> None:
    jobs = [record(9.3, 12.0, 2.0), record(1.0, 6.0, 2.0), record(6.1, 9.0, 2.5)]
    assert overheads(jobs) == pytest.approx([0.5, 1.0])


def test_jobs_at_the_same_time_are_refused() -> None:
    with pytest.raises(RunFolderError, match="same time"):
        overheads([record(1.0, 6.0, 2.0), record(5.0, 9.0, 2.0)])
    with pytest.raises(RunFolderError, match="fewer than two"):
        overheads([record(1.0, 6.0, 2.0)])
