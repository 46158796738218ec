"""What the commands besides ``train.py`` do with errors and with outputs that take nothing."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ablab.errors import PlanError, UserError
from ablab.safety.commands import as_command
from tests.launch import environment


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (UserError("a\x1bb"), 2, "error: a\\x1bb\n"),
        (PlanError("a job failed"), 1, "error: a job failed\n"),
        (
            PermissionError(errno.EACCES, "Permission denied", "x"),
            1,
            "error: x: Permission denied\n",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_is_one_line(
    error: Exception, status: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: list[str]) -> int:
        raise error

    assert as_command(fail)([]) == status
    assert capsys.readouterr().err == told


def printing(output: int, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ablab", "data", "list"],
        cwd=cwd,
        env=environment(),
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_full_device_is_told(tmp_path: Path) -> None:
    done = printing(os.open("/dev/full", os.O_WRONLY), tmp_path)
    assert (done.returncode, done.stderr) == (
        1,
        "error: standard output: No space left on device\n",
    )


def test_a_reader_that_has_gone_is_no_error(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = printing(writer, tmp_path)
    assert done.returncode in (1, 141)  # rich ends the process with 1 itself
    assert done.stderr == ""
