"""What a fit shows on a terminal, read off its screen, and what it shows elsewhere."""

import csv
import re
import signal
from pathlib import Path

import pytest

from ablab.runs.record import RunRecord
from ablab.training.terminal_tables import number
from tests import forked
from tests.launch import PHASES, TINY, train
from tests.on_terminal import Screen, watch

EPOCH, STEPS = 26, 78  # of TINY
SLOW = ["callbacks.slow._target_=toy.callbacks.Slow", "callbacks.slow.seconds=0.015"]
BAR = re.compile(r"^(\w+: )?epoch (\d+)/(\d+) .* ([\d,]+) of ([\d,]+) steps")


class Film:
    """The lines at which the bar was seen, in their order."""

    def __init__(self) -> None:
        self.bars: list[str] = []
        self.colours: set[str] = set()
        self.hidden = False

    def __call__(self, screen: Screen, _: forked.Process) -> None:
        last = screen.text().rpartition("\n")[2]
        if BAR.match(last) and last not in self.bars[-1:]:
            self.bars.append(last)
            self.hidden |= screen.cursor_is_hidden
        self.colours |= screen.colours()

    def counts(self) -> list[tuple[int, int, int, int]]:
        """Epoch, of how many, step, of how many."""
        found = [BAR.match(bar) for bar in self.bars]
        groups = [match.groups()[1:] for match in found if match]
        return [tuple(int(n.replace(",", "")) for n in numbers) for numbers in groups]  # type: ignore[misc]


def rows(screen: Screen, of: str = r"\d+/\d+") -> list[list[str]]:
    """The cells of the table's rows."""
    return [line.split() for line in screen.lines() if re.match(rf"\s*{of}\s+[\d,]+\s", line)]


def only_run(folder: Path) -> Path:
    (record,) = folder.glob("runs/*/*/run.json")
    return record.parent


def logged_by_step(folder: Path) -> dict[int, dict[str, float]]:
    """All that the history has for each step, from several rows of it."""
    logged: dict[int, dict[str, float]] = {}
    with (only_run(folder) / "metrics.csv").open() as file:
        for row in csv.DictReader(file):
            values = {name: float(value) for name, value in row.items() if value}
            logged.setdefault(int(row["step"]), {}).update(values)
    return logged


@pytest.fixture(scope="module", params=[80, 120])
def watched(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Screen, Film]:
    folder, film = tmp_path_factory.mktemp("watched"), Film()
    status, screen = watch(
        *TINY,
        *SLOW,
        "callbacks.slow.seconds=0.12",
        "steps_per_execution=4",
        cwd=folder,
        columns=request.param,
        look=film,
    )
    assert status == 0, screen.text()
    return folder, screen, film


def test_the_epochs_are_the_rows_of_one_table(watched: tuple[Path, Screen, Film]) -> None:
    folder, screen, _ = watched
    lines = screen.lines()
    (start,) = [n for n, line in enumerate(lines) if line.split()[:2] == ["epoch", "step"]]
    assert lines[start - 1].split() == ["train", "val", "val", "val"]
    assert lines[start].split() == ["epoch", "step", "loss", "loss", "rmse", "mae", "seconds"]
    columns = ["train/loss_epoch", "val/loss", "val/rmse", "val/mae"]
    logged = logged_by_step(folder)
    expected = [
        [f"{n}/3", str(n * EPOCH), *(f"{logged[n * EPOCH][name]:.4f}" for name in columns)]
        for n in (1, 2, 3)
    ]
    shown = [line.split() for line in lines[start + 1 : start + 4]]
    assert [cells[:-1] for cells in shown] == expected
    assert len({len(line) for line in lines[start : start + 4]}) == 1  # columns stand straight


def test_the_bar_is_gone_in_the_end(watched: tuple[Path, Screen, Film]) -> None:
    _, screen, film = watched
    assert film.bars
    assert not [line for line in screen.lines() if " steps" in line or "left" in line]


def test_the_bar_counts_epochs_from_one_and_optimiser_steps(
    watched: tuple[Path, Screen, Film],
) -> None:
    counts = watched[2].counts()
    assert counts == sorted(counts)
    assert {(of, steps) for _, of, _, steps in counts} == {(3, STEPS)}
    assert {epoch for epoch, _, _, _ in counts} == {1, 2, 3}
    for epoch, _, step, _ in counts:
        assert (epoch - 1) * EPOCH <= step <= epoch * EPOCH


def test_the_bar_fills_the_line_and_says_how_long_the_run_takes(
    watched: tuple[Path, Screen, Film],
) -> None:
    _, screen, film = watched
    assert {len(bar) for bar in film.bars if bar.endswith("left")} <= {
        screen.columns - 1,
        screen.columns,
    }
    assert any(re.search(r"about \d+ (s|min) left$", bar) for bar in film.bars)


def test_a_run_that_is_killed_leaves_the_cursor(watched: tuple[Path, Screen, Film]) -> None:
    assert not watched[2].hidden


@pytest.mark.parametrize("variable", ["NO_COLOR", "NONE"])
def test_colours_are_left_out_where_they_are_not_wanted(variable: str, tmp_path: Path) -> None:
    film = Film()
    watch(*TINY, *SLOW, cwd=tmp_path, look=film, **{variable: "1"})
    assert film.bars
    assert (film.colours == {"default"}) == (variable == "NO_COLOR")


def test_phases_are_named_and_counted_on(tmp_path: Path) -> None:
    film = Film()
    status, screen = watch(*PHASES, *SLOW, cwd=tmp_path, look=film, timeout=60)
    assert status == 0, screen.text()
    assert [row[:2] for row in rows(screen)] == [["1/3", "5"], ["2/3", "10"], ["3/3", "15"]]
    counts = film.counts()
    assert counts == sorted(counts)
    assert {(of, steps) for _, of, _, steps in counts} == {(3, 15)}
    named = {(bar.split(":")[0], count[0]) for bar, count in zip(film.bars, counts, strict=True)}
    assert named <= {("head", 1), ("all", 2), ("all", 3)}
    assert {name for name, _ in named} == {"head", "all"}


def test_without_validation_there_are_no_columns_of_it(tmp_path: Path) -> None:
    _, screen = watch(*TINY, "data.validation_fraction=0.0", cwd=tmp_path)
    (heads,) = [line.split() for line in screen.lines() if line.split()[:2] == ["epoch", "step"]]
    assert heads == ["epoch", "step", "loss", "seconds"]
    assert [len(row) for row in rows(screen)] == [4, 4, 4]


def test_validation_within_an_epoch_has_rows_of_its_own(tmp_path: Path) -> None:
    _, screen = watch(*TINY, "trainer.max_epochs=1", "trainer.val_check_interval=10", cwd=tmp_path)
    logged = logged_by_step(tmp_path)
    expected = [
        [f"{step}", *(f"{logged[step][f'val/{name}']:.4f}" for name in ("loss", "rmse", "mae"))]
        for step in (10, 20)
    ]
    assert rows(screen, "") == expected
    (last,) = rows(screen)
    assert len(last) == 4  # epoch, step, train loss, seconds: step 26 was not validated


def test_metrics_that_are_not_measured_in_each_epoch_have_their_columns(tmp_path: Path) -> None:
    _, screen = watch(*TINY, "trainer.check_val_every_n_epoch=2", cwd=tmp_path)
    assert [len(row) for row in rows(screen)] == [4, 7, 4]


def test_a_continued_run_counts_on(tmp_path: Path) -> None:
    def stop(screen: Screen, process: forked.Process) -> None:
        if rows(screen) and not stopped:
            stopped.append(1)
            process.send_signal(signal.SIGINT)

    stopped: list[int] = []
    status, screen = watch(*TINY, *SLOW, cwd=tmp_path, look=stop, timeout=60)
    assert status == 130
    (told,) = [n for n, line in enumerate(screen.lines()) if "interrupted by SIGINT" in line]
    assert screen.lines()[told].startswith("interrupted by SIGINT; continue with: python train.py")
    assert not screen.lines()[told - 1].startswith("epoch")  # nothing of the bar is left
    folder, film = only_run(tmp_path), Film()
    status, screen = watch("task=fit", f"run={folder}", cwd=tmp_path, look=film)
    assert status == 0
    assert [row[:2] for row in rows(screen)] == [["2/3", "52"], ["3/3", "78"]]
    assert film.counts()[0][0] == 2
    assert RunRecord.read(folder).status == "done"


def test_what_is_printed_logged_or_warned_of_stands_above_the_bar(tmp_path: Path) -> None:
    _, screen = watch(
        *TINY,
        "trainer.max_epochs=1",
        "callbacks.talk._target_=toy.callbacks.Talkative",
        cwd=tmp_path,
        columns=120,
    )
    lines = screen.lines()
    assert lines.count("printed by a callback") == EPOCH
    assert lines.count("logged by a callback") == EPOCH
    assert any(line.endswith("UserWarning: warned by a callback") for line in lines)
    assert not [line for line in lines if " steps" in line]


@pytest.mark.slow  # a pipe, which is the usual case, has a test of its own
@pytest.mark.parametrize(
    ("overrides", "variables"),
    [
        ([], {"JPY_PARENT_PID": "1"}),  # a cell with !python train.py
        ([], {"TERM": "dumb"}),
        (["trainer.enable_progress_bar=false"], {}),
        (["callbacks.bar._target_=lightning.pytorch.callbacks.TQDMProgressBar"], {}),
    ],
    ids=["notebook", "dumb", "switched off", "another bar"],
)
def test_lines_as_in_a_file_where_a_table_is_not_wanted(
    overrides: list[str], variables: dict[str, str], tmp_path: Path
) -> None:
    film = Film()
    status, screen = watch(*TINY, *overrides, cwd=tmp_path, columns=120, look=film, **variables)
    assert status == 0, screen.text()
    assert film.bars == []
    assert re.search(r"fit epoch   3/3  val/loss [\d.]+  val/rmse .* s$", screen.text(), re.M)


def test_a_pipe_gets_a_line_for_each_epoch(tmp_path: Path) -> None:
    shown = train(*TINY, cwd=tmp_path).stdout
    lines = re.findall(
        r"^fit epoch   (\d)/3  val/loss [\d.]+  val/rmse [\d.]+  val/mae [\d.]+  "
        r"train/loss_epoch [\d.]+  [\d.]+ s$",
        shown,
        re.M,
    )
    assert lines == ["1", "2", "3"]
    assert "\x1b" not in shown


def test_the_metric_that_counts_is_shown_also_where_there_is_little_room(tmp_path: Path) -> None:
    more = "objective.metrics.squares={_target_: torchmetrics.MeanSquaredError}"
    chosen = ["objective.metric=squares", more, "trainer.max_epochs=1"]
    _, screen = watch(*TINY, *chosen, cwd=tmp_path, columns=40)
    (heads,) = [line.split() for line in screen.lines() if line.split()[:2] == ["epoch", "step"]]
    assert heads[2] == "loss"
    assert "squares" in heads
    assert "mae" not in heads
    assert max(map(len, screen.lines())) <= 40


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.95127, "0.9513"),
        (12.5, "12.5000"),
        (1234.56, "1234.56"),
        (123456.7, "123457"),
        (12345678.0, "1.2e+07"),
        (float("nan"), "nan"),
    ],
)
def test_a_number_fits_its_column(value: float, text: str) -> None:
    assert number(value) == text
