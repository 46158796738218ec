"""What a plan shows while its jobs run, on a terminal and in a notebook."""

import re
import signal
from pathlib import Path

import pytest

from tests import forked
from tests.launch import TINY
from tests.on_terminal import Screen, watch

SWEEP = ["-m", *TINY, "trainer.max_epochs=2", "seed=0,1"]
LIVE = re.compile(r"seed=(\d) +[\d.]+ s +([━╸╺]* +)?(starting|\d of 2 epochs)$")
ENDED = re.compile(r"\[(\d)/2\] seed=(\d)  val/rmse [\d.]+  test/rmse [\d.]+  [\d.]+ s")


def waiting(tmp_path: Path) -> list[str]:
    """Overrides for jobs that wait before their second epoch until they have been looked at."""
    return [
        "callbacks.wait._target_=toy.callbacks.WaitFor",
        "callbacks.wait.epoch=1",
        f"callbacks.wait.flag={tmp_path / 'seen'}",
    ]


@pytest.mark.parametrize("columns", [80, 120])
def test_the_running_job_is_shown_while_it_runs(columns: int, tmp_path: Path) -> None:
    def look(screen: Screen, _: forked.Process) -> None:
        if any(
            (found := LIVE.match(line)) and found[3] == "1 of 2 epochs" for line in screen.lines()
        ):
            seen.extend(screen.text().splitlines())
            (tmp_path / "seen").touch()

    seen: list[str] = []
    status, screen = watch(*SWEEP, *waiting(tmp_path), cwd=tmp_path, columns=columns, look=look)
    assert status == 0, screen.text()
    assert "running" in "".join(seen)
    assert any(line.startswith("1 running, 1 waiting, 0 done") for line in seen)
    shown = [line for line in screen.lines() if line.startswith("[")]
    assert [ENDED.match(line)[0][:13] for line in shown] == ["[1/2] seed=0 ", "[2/2] seed=1 "]  # type: ignore[index]
    assert not any(" running, " in line or LIVE.match(line) for line in screen.lines())
    assert not screen.cursor_is_hidden


def test_what_is_stopped_leaves_a_clean_screen(tmp_path: Path) -> None:
    def look(screen: Screen, process: forked.Process) -> None:
        if not stopped and any(map(LIVE.match, screen.lines())):
            stopped.append(1)
            process.send_signal(signal.SIGINT)
            (tmp_path / "seen").touch()

    stopped: list[int] = []
    status, screen = watch(*SWEEP, *waiting(tmp_path), cwd=tmp_path, look=look)
    assert status == 130, screen.text()
    assert "stopped; the same command" in screen.text()
    assert not any(" running, " in line or LIVE.match(line) for line in screen.lines())
    assert not screen.cursor_is_hidden


def test_a_notebook_is_told_when_a_job_has_ended(tmp_path: Path) -> None:
    seen: set[str] = set()

    def look(screen: Screen, _: forked.Process) -> None:
        seen.update(screen.lines())

    watch(*SWEEP, cwd=tmp_path, look=look, JPY_PARENT_PID="1")
    assert any(map(ENDED.match, seen))
    assert not any(map(LIVE.match, seen))
