"""The suite's own work: processes that take turns, what is read of them, and the contenders."""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from benchmarks.contenders import hand_loop, lightning_template
from benchmarks.contenders.task import TASK_FILE, Task, contend
from benchmarks.rounds import Contender, Measured, on_a_terminal, ratios, read, run_in_turns
from benchmarks.suite import HAND, Benchmark, comparisons
from benchmarks.summary import Summary

from ablab.errors import UserError
from ablab.runs.record import RunRecord
from benchmarks import __main__ as command
from benchmarks import suite


@pytest.fixture
def task(tmp_path: Path) -> Task:
    """Ratings that user and item biases explain: 5 users, 4 items."""
    random = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for part, size in {"train": 300, "val": 50, "test": 50}.items():
        users, items = random.integers(5, size=size), random.integers(4, size=size)
        arrays |= {f"{part}_0": users, f"{part}_1": items}
        arrays[f"{part}_2"] = (1 + users / 2 + items / 2).astype(np.float32)
    np.savez(tmp_path / "rows.npz", allow_pickle=False, **arrays)
    return Task(
        model="collab",
        data=str(tmp_path / "rows.npz"),
        metric="rmse",
        epochs=12,
        batch_size=16,
        lr=0.05,
        weight_decay=0.01,
        sizes={"n_users": 5, "n_items": 4},
    )


@pytest.mark.filterwarnings("ignore")  # the template is as it is
@pytest.mark.parametrize("contender", [hand_loop, lightning_template])
def test_a_contender_learns_and_leaves_a_record(
    contender: object, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    task.write(folder)
    monkeypatch.setattr(sys, "argv", ["contender.py", str(folder)])
    contend(contender.build)  # pyright: ignore[reportAttributeAccessIssue]
    record = RunRecord.read(folder)
    assert record.metrics["test"]["rmse"] < 0.3  # the ratings' own spread is 0.9
    assert record.steps == 12 * 19
    found = read(folder, 9.0, "rmse")
    assert (found.process, found.fit) == (9.0, record.seconds["fit"])


def test_repeats_are_added_up(task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = []

    def build(task: Task) -> tuple[object, object]:
        seeds.append(task.seed)
        return lambda: 7, lambda: float(task.seed)

    monkeypatch.setattr(sys, "argv", ["contender.py", str(tmp_path / "run")])
    Task(**{**vars(task), "seed": 2, "repeats": 3}).write(tmp_path / "run")
    contend(build)  # pyright: ignore[reportArgumentType]
    record = RunRecord.read(tmp_path / "run")
    assert seeds == [2, 3, 4]
    assert (record.steps, record.epochs, record.metrics["test"]["rmse"]) == (21, 36, 3.0)


def test_a_process_has_a_terminal_and_its_failure_is_told(tmp_path: Path) -> None:
    see = "import os, sys; print(sys.stdout.isatty(), os.get_terminal_size()[0])"
    assert on_a_terminal([sys.executable, "-c", see], tmp_path / "a.log") > 0
    assert (tmp_path / "a.log").read_text().split() == ["True", "120"]
    with pytest.raises(UserError, match=r"ended with 3:\s+so it is"):
        on_a_terminal(
            [sys.executable, "-c", "print('so it is'); raise SystemExit(3)"], tmp_path / "b.log"
        )


def test_contenders_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order = []

    def contender(name: str) -> Contender:
        return Contender(name, lambda folder, number: [name, str(number)])

    def run(command: list[str], log: Path) -> float:
        order.append(tuple(command[1:]))
        return 1.0

    monkeypatch.setattr("benchmarks.rounds.on_a_terminal", run)
    monkeypatch.setattr("benchmarks.rounds.read", lambda *_: measured(1.0))
    both = [contender("a"), contender("b")]
    run_in_turns(both, 2, tmp_path, "rmse", print)
    assert order == [("a", "0"), ("b", "0"), ("a", "1"), ("b", "1")]


def measured(fit: float) -> Measured:
    return Measured(fit=fit, process=fit + 4, memory=500.0, test=0.9, steps=100, epochs=2)


def test_a_ratio_is_of_two_times_of_the_same_round() -> None:
    runs = {"a": [measured(2.0), measured(8.0)], "b": [measured(1.0), measured(2.0)]}
    found = ratios(runs, "a", "b")
    assert (found.least, found.median, found.greatest) == (2.0, 3.0, 4.0)


def test_the_table_has_a_row_for_each_contender(tmp_path: Path) -> None:
    comparison = Benchmark("title", "rmse", [], ["a", "absent"])
    runs = {"a": [measured(1.0), measured(2.0)], "b": [measured(2.0), measured(3.0)]}
    summary = Summary(comparison, runs)
    (tmp_path / "folder").mkdir()
    summary.write(tmp_path / "folder")
    text = (tmp_path / "folder" / "table.md").read_text()
    assert (
        "| b | 2.50 (2.00 to 3.00) | 1.250 | 25.00 | 1.75 (1.50 to 2.00) | 6.5 | 500 | 0.9000 |"
        in text
    )
    assert "absent" not in text
    assert "<svg" in (tmp_path / "folder" / "times.svg").read_text()
    with (tmp_path / "folder" / "measured.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(r["contender"], r["round"], r["fit"]) for r in rows] == [
        ("a", "1", "1.0"),
        ("a", "2", "2.0"),
        ("b", "1", "2.0"),
        ("b", "2", "3.0"),
    ]


def test_ours_and_others_get_the_same_rows_and_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suite, "N_DIGITS", 600)
    digits = comparisons(tmp_path, tmp_path / "data", gpu=False)["mnist_nn"]()
    by_name = {contender.name: contender for contender in digits.contenders}
    by_name[HAND].command(tmp_path / "hand", 3)
    told = Task(**json.loads((tmp_path / "hand" / TASK_FILE).read_text()))
    assert (told.lr, told.weight_decay, told.seed, told.epochs) == (0.01, 0.6, 3, 5)
    assert len(told.part("train")[-1]) == 432
    assert told.part("train")[0].shape[1] == told.sizes["n_inputs"]
    assert "seed=3" in by_name["ours"].command(tmp_path / "ours", 3)


def test_what_is_not_known_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["nothing"])
    assert "the comparisons here are collab, mnist_nn, quality, plan" in capsys.readouterr().err


@pytest.mark.parametrize("said", ["0", "-1", "many", "1.5"])
def test_a_number_of_rounds_is_one_or_more(said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main([f"--rounds={said}"])
    assert f"--rounds: should be 1 or more (it is {said})" in capsys.readouterr().err
