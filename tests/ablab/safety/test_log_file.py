"""A log that cannot be written is no reason for anything to be raised, or printed."""

import contextlib
import logging
from pathlib import Path

import pytest

from ablab.safety.log_file import LogFile


@pytest.mark.parametrize("place", ["/dev/full", "/nowhere/run.log"])
def test_a_line_that_cannot_be_written(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    if place == "/dev/full" and not Path(place).exists():
        pytest.skip("Linux has a device that is always full")
    handler = LogFile(place, delay=True)
    handler.handle(logging.LogRecord("x", 40, "", 0, "a line", (), None))
    with contextlib.suppress(OSError):  # as logging does at a program's end
        handler.close()
    assert capsys.readouterr().err == ""


def test_a_line_that_is_wrong_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    handler = LogFile(tmp_path / "run.log", delay=True)
    handler.handle(logging.LogRecord("x", 40, "", 0, "a line of %s and %s", (1,), None))
    assert "not enough arguments" in capsys.readouterr().err
    handler.close()
