"""What a plan shows of its jobs while they run, read off the screen, and the time that is left."""

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from rich.console import Console

from ablab.ablation.launch import job_lines
from ablab.ablation.launch.job_lines import JobLines, Reached
from ablab.ablation.launch.live_table import LiveTable, read_reached
from ablab.ablation.plan.folder import JobFolder, State
from ablab.ablation.plan.listing import outcome, show_failures
from ablab.runs.record import RunRecord
from ablab.terminal import about
from tests.on_terminal import Screen


class Clock:
    """The time in place of ``time``'s, which only a test moves."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(job_lines, "time", made)
    return made


def job(path: Path, seed: int = 0) -> Path:
    """A prepared folder of a job of ten epochs."""
    path.mkdir()
    config: dict[str, Any] = {
        "name": "job",
        "seed": seed,
        "seeds": {},
        "objective": {"metric": "rmse", "mode": "min"},
        "data": {},
        "paths": {"data": "data"},
        "phases": {},
        "trainer": {"max_epochs": 10},
    }
    plan = {"name": "p", "variant": None, "settings": {"optim.lr": 0.1}}
    RunRecord.planned(config, [], plan).write(path)
    return path


def train(folder: Path, epochs: int, metrics: dict[str, float] | None = None) -> None:
    """Leave the manifest of a job that has trained so many epochs."""
    (folder / "checkpoints").mkdir(exist_ok=True)
    metrics = {"val/rmse": 1.0} if metrics is None else metrics
    newest = {"epoch": epochs - 1, "step": 7 * epochs, "metrics": metrics}
    (folder / "checkpoints" / "manifest.json").write_text(json.dumps({"checkpoints": [newest]}))


def end(lines: JobLines, folder: Path, status: Any = "done") -> None:
    record = RunRecord.read(folder)
    record.status, record.error = status, {"type": "ValueError", "message": "bad"}
    record.write(folder)
    lines.end(folder)


def shown(lines: JobLines, columns: int, **settings: Any) -> list[str]:
    """The lines on a terminal of so many columns while the table stands there."""
    screen = Screen(columns)
    lines.console = Console(
        width=columns, height=30, force_terminal=True, legacy_windows=False, **settings
    )
    lines.is_live = True
    with LiveTable(lines, by_itself=False) as table, lines.console.capture() as captured:
        table.update()
    screen.feed(captured.get().replace("\n", "\r\n").encode())
    return screen.text().splitlines()


def test_how_far_a_job_is_follows_from_its_checkpoints(tmp_path: Path) -> None:
    config: dict[str, Any] = {"phases": {}, "trainer": {"max_epochs": 5}}
    assert read_reached(tmp_path, config) is None
    (tmp_path / "checkpoints").mkdir()
    assert str(read_reached(tmp_path, config)) == "0 of 5 epochs"
    train(tmp_path, 2)
    assert str(read_reached(tmp_path, config)) == "2 of 5 epochs"
    train(tmp_path, 3, metrics={})  # in the middle of the third
    assert str(read_reached(tmp_path, config)) == "2 of 5 epochs"
    config["phases"] = {"head": {"epochs": 3}, "all": {"epochs": 6}}
    assert str(read_reached(tmp_path, config)) == "2 of 9 epochs"
    config = {"phases": {}, "trainer": {"max_epochs": -1}}
    assert str(read_reached(tmp_path, config)) == "2 epochs"


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_the_table_fits_the_terminal(columns: int, clock: Clock, tmp_path: Path) -> None:
    lines = JobLines(4)
    first, second = job(tmp_path / "first"), job(tmp_path / "second", 1)
    lines.begin(first)
    end(lines, first, "failed")
    lines.begin(second)
    train(second, 3)
    text = shown(lines, columns)
    assert max(map(len, text)) <= columns
    assert text[0].split() == ["running", "for", "trained"]
    assert text[1].startswith("optim.lr=0.1")
    assert text[1].endswith("3 of 10 epochs")
    assert ("━" in text[1]) == (columns > 40)
    assert "1 running, 2 waiting, 0 done, 1 failed; about" in " ".join(text)


def test_a_stack_has_one_row(tmp_path: Path) -> None:
    lines = JobLines(3)
    folders = [job(tmp_path / f"{number}", number) for number in range(3)]
    for folder in folders:
        lines.begin(folder, stack="stack 1 of 1: 3 jobs as one model")
        lines.reach(folder, Reached(4, 10))
    _, row, counts = shown(lines, 80)
    assert row.startswith("stack 1 of 1: 3 jobs as one model")
    assert row.endswith("4 of 10 epochs")
    assert counts.startswith("3 running, 0 waiting")


def test_without_colours_the_bar_still_shows_how_far_it_is(tmp_path: Path) -> None:
    lines = JobLines(1)
    lines.begin(job(tmp_path / "one"))
    train(tmp_path / "one", 5)
    _, row, _ = shown(lines, 80, no_color=True)
    assert row.count("━") == 8


def test_gpus_have_a_column_and_many_jobs_are_cut_short(tmp_path: Path) -> None:
    lines = JobLines(20)
    for number in range(15):
        lines.begin(job(tmp_path / f"{number}", number), gpus=[f"{number}"])
    text = shown(lines, 80)
    assert text[0].split() == ["running", "GPU", "for", "trained"]
    assert text[-2:] == ["and 3 more", "15 running, 5 waiting, 0 done"]


def test_failures_that_are_alike_have_their_reason_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = JobLines(3)
    for number in range(3):
        lines.begin(folder := job(tmp_path / f"{number}", number))
        end(lines, folder, "failed")
    shown = capsys.readouterr().out.splitlines()
    assert "failed: ValueError: bad" in shown[0]
    assert all("failed as optim.lr=0.1 seed=0 did" in line for line in shown[1:])


def test_equal_failures_are_listed_once_with_what_they_share(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rates: list[float] = [1e38, 1e38, 1e38, 0.1, 0.1]
    statuses: list[State] = ["failed", "failed", "failed", "interrupted", "unreadable"]
    jobs = []
    for number, (rate, status) in enumerate(zip(rates, statuses, strict=True)):
        folder = job(tmp_path / f"{number}", number)
        record = RunRecord.read(folder)
        record.error = {"type": "ValueError", "message": f"loss is nan at step {number}\nmore"}
        record.status = "failed" if status == "failed" else "running"
        record.write(folder)
        planned: Any = SimpleNamespace(variant=None, settings={"optim.lr": rate}, seed=number)
        jobs.append(JobFolder(planned, folder))
    (tmp_path / "4" / "run.json").write_text("{")
    show_failures(jobs, statuses, {}, tmp_path)
    damaged, *others = capsys.readouterr().out.splitlines()
    assert "run.json: is not a run record" in damaged
    assert f"remove {os.path.relpath(tmp_path / '4')} to run that job again" in damaged
    assert [line.strip() for line in others] == [
        "3 failed: ValueError: loss is nan at step 0 (optim.lr=1e+38)",
        "first log: 0/run.log",
        "optim.lr=0.1 seed=3: interrupted",
        "log: 3/run.log",
    ]


def test_what_a_class_named_by_a_config_raised_is_the_error_of_its_run(tmp_path: Path) -> None:
    record = RunRecord.read(job(tmp_path / "one"))
    with pytest.raises(InstantiationException) as caught:
        instantiate({"_target_": "fractions.Fraction", "numerator": "half"})
    record.end("failed", 1, caught.value)
    assert outcome(record).startswith("failed: ValueError: Invalid literal for Fraction: 'half'")


def test_the_time_left_is_known_from_epochs_before_a_job_has_ended(
    clock: Clock, tmp_path: Path
) -> None:
    lines = JobLines(6)
    lines.begin(folder := job(tmp_path / "one"))
    running = lines.running[folder]
    clock.now = 3.0  # it takes as long to read its data
    running.note(0.1)
    assert lines.seconds_left() is None
    clock.now = 4.0
    running.note(0.2)
    assert lines.seconds_left() == pytest.approx(12 * 0.8 + 12 * 5)  # 10 s and the start


def test_the_first_job_counts_only_while_it_is_the_only_one(clock: Clock, tmp_path: Path) -> None:
    lines = JobLines(6)
    for number, taken in enumerate((30.0, 6.0, 8.0)):
        lines.begin(folder := job(tmp_path / f"{number}"))
        clock.now += taken
        end(lines, folder)
        assert lines.seconds_left() == pytest.approx([150.0, 24.0, 21.0][number])
    lines.begin(folder := job(tmp_path / "running"))
    clock.now += 2.0
    assert lines.seconds_left() == pytest.approx(5.0 + 14.0)
    lines.running[folder].note(0.5)  # which says more than the clock
    assert lines.seconds_left() == pytest.approx(3.5 + 14.0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "about 1 s"),
        (7.4, "about 7 s"),
        (49.3, "about 50 s"),
        (67, "about 70 s"),
        (412, "about 7 min"),
        (9000, "about 2.5 h"),
    ],
)
def test_an_estimate_has_the_digits_of_one(seconds: float, text: str) -> None:
    assert about(seconds) == text


def test_a_line_of_a_million_characters_is_cut(tmp_path: Path) -> None:
    record = RunRecord.read(job(tmp_path / "one"))
    record.end("failed", 1, ValueError("x" * 10**6))
    assert len(outcome(record)) < 1000
