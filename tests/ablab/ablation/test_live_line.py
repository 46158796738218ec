"""What a sweep shows of the job that runs, on a terminal and elsewhere."""

import re
from pathlib import Path

from tests import forked
from tests.launch import TINY
from tests.on_terminal import Screen, watch

SWEEP = [
    "-m",
    *TINY,
    "trainer.max_epochs=2",
    "seed=0,1",
    "callbacks.slow._target_=toy.callbacks.Slow",
    "callbacks.slow.seconds=0.03",
]
LIVE = re.compile(r"\[(\d)/2\] seed=(\d)  (starting|epoch \d/2, step \d+)  [\d.]+ s")
ENDED = re.compile(r"\[(\d)/2\] seed=(\d)  val/rmse [\d.]+  test/rmse [\d.]+  [\d.]+ s")


def test_the_running_job_is_shown_while_it_runs(tmp_path: Path) -> None:
    seen: list[str] = []

    def look(screen: Screen, _: forked.Process) -> None:
        seen.extend(line for line in screen.lines() if line not in seen)

    status, screen = watch(*SWEEP, cwd=tmp_path, look=look)
    assert status == 0, screen.text()
    shown = [line for line in screen.lines() if line.startswith("[")]
    assert [ENDED.match(line)[0][:13] for line in shown] == ["[1/2] seed=0 ", "[2/2] seed=1 "]  # type: ignore[index]
    live = [found.groups() for line in seen if (found := LIVE.match(line))]
    for number, seed in (("1", "0"), ("2", "1")):
        assert (number, seed, "starting") in live
        assert (number, seed, "epoch 1/2, step 26") in live
    assert not screen.cursor_is_hidden


def test_a_notebook_is_told_when_a_job_has_ended(tmp_path: Path) -> None:
    seen: set[str] = set()

    def look(screen: Screen, _: forked.Process) -> None:
        seen.update(screen.lines())

    watch(*SWEEP, cwd=tmp_path, look=look, JPY_PARENT_PID="1")
    assert any(map(ENDED.match, seen))
    assert not any(map(LIVE.match, seen))
