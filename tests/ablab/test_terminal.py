"""What stands on a terminal while a run does something that nothing else shows."""

import io
import logging
import sys
from contextlib import redirect_stdout

import pytest
from rich.console import Console

from ablab import terminal
from ablab.runs.checkpoints import Progress
from ablab.training import epoch_table
from ablab.training.epoch_table import EpochTable
from ablab.training.logged import Position
from tests.on_terminal import Screen


class Terminal(io.StringIO):
    """A standard output that is a terminal of so many columns."""

    columns = 80

    def isatty(self) -> bool:
        return True

    def screen(self) -> Screen:
        screen = Screen(self.columns)
        screen.feed(self.getvalue().replace("\n", "\r\n").encode())
        return screen


@pytest.fixture
def stdout(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    made = Terminal()
    console = Console(highlight=False, width=80, force_terminal=True, legacy_windows=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("JPY_PARENT_PID", raising=False)
    for module in (terminal, epoch_table):
        monkeypatch.setattr(module, "console", lambda: console)
    return made


def test_what_a_run_does_is_shown_while_it_does_it(stdout: Terminal) -> None:
    handler = logging.StreamHandler(stdout)
    logging.getLogger().addHandler(handler)
    try:
        with redirect_stdout(stdout), terminal.doing("testing"):
            print("printed")
            terminal.say("said")
            logging.getLogger().warning("logged")
            assert stdout.screen().text().splitlines() == ["printed", "said", "logged", "testing …"]
        logging.getLogger().warning("after")
    finally:
        logging.getLogger().removeHandler(handler)
    screen = stdout.screen()
    assert screen.text().splitlines() == ["printed", "said", "logged", "after"]
    assert not screen.cursor_is_hidden


def test_an_error_leaves_nothing_of_it(stdout: Terminal) -> None:
    with redirect_stdout(stdout):
        with pytest.raises(KeyboardInterrupt), terminal.doing("testing"):
            raise KeyboardInterrupt
        assert sys.stdout is stdout
    assert stdout.screen().text() == ""
    assert not stdout.screen().cursor_is_hidden


@pytest.mark.parametrize("variable", ["JPY_PARENT_PID", "TERM"])
def test_it_is_not_shown_where_lines_cannot_be_erased(
    variable: str, stdout: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "dumb")
    with redirect_stdout(stdout), terminal.doing("testing"):
        print("printed")
    assert stdout.getvalue() == "printed\n"


def test_a_window_of_another_size_gets_the_columns_that_it_has_room_for(stdout: Terminal) -> None:
    table = EpochTable([], "val/rmse")
    table.begin_phase(None, Position(Progress()))  # type: ignore[arg-type]
    table._epochs, table._steps = 3, 78
    values = dict.fromkeys(("train/loss_epoch", "val/loss", "val/rmse", "val/mae"), 0.5)

    def row(epoch: str) -> None:
        table._add_row(None, None, epoch, values, "1.0")  # type: ignore[arg-type]

    with redirect_stdout(stdout):
        row("1/3")
        epoch_table.console().width = 40
        row("2/3")
        row("3/3")
    lines = stdout.screen().lines()
    heads = [line.split() for line in lines if line.split()[:2] == ["epoch", "step"]]
    assert heads == [
        ["epoch", "step", "loss", "loss", "rmse", "mae", "seconds"],
        ["epoch", "step", "loss", "rmse", "seconds"],
    ]
    assert max(map(len, lines[5:])) <= 40
