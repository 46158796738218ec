"""``ablab interpret KIND RUN``, with what is right and with what is not."""

import re
import shutil
from pathlib import Path

import polars as pl
import pytest
import torch

import ablab
from ablab.interpret.__main__ import KINDS, main
from ablab.runs.record import RunRecord
from tests.launch import TINY, launch
from toy.interpretations import KINDS as OWN_KINDS


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two runs; tests add files to it and change none."""
    folder = tmp_path_factory.mktemp("runs")
    for seed, name in enumerate(("older", "newer")):
        launch([*TINY, "trainer.max_epochs=1", f"seed={seed}"], folder / name)
    return folder


def test_findings_are_printed_and_kept_in_the_run_folder(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["errors", str(runs / "older"), "--top", "2"]) == 0
    file = runs / "older" / "interpret" / "errors.csv"
    printed = capsys.readouterr().out
    assert f"\n{file}\n" in printed
    largest = [f"{error:.3f}" for error in pl.read_csv(file)["error"][:3]]
    assert [error in printed for error in largest] == [True, True, False]


def test_settings_are_read_from_the_command_line(runs: Path) -> None:
    settings = ["--users", "7", "3", "--part", "train"]
    assert main(["errors", str(runs / "older"), *settings]) == 0
    users = pl.read_csv(runs / "older" / "interpret" / "errors.csv")["user"]
    assert set(users) == {3, 7}


def test_settings_need_not_be_keyword_only(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OWN_KINDS, "own", {"item_biases": "toy.interpret.item_biases"})
    assert main(["item_biases", str(runs / "older"), "--top", "2"]) == 0
    assert len(pl.read_csv(runs / "older" / "interpret" / "item_biases.csv")) == 2


def test_the_newest_run_of_a_folder_is_taken(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["training_curves", str(runs)]) == 0
    picture = runs / "newer" / "interpret" / "training_curves.png"
    printed = capsys.readouterr()
    assert printed.out.strip() == str(picture)
    assert printed.err.strip() == f"the newest run in {runs} is {runs / 'newer'}"
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_an_unfinished_run_is_named_as_such(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "stopped"
    shutil.copytree(runs / "older", run)
    record = RunRecord.read(run)
    record.status = "interrupted"
    record.write(run)
    assert main(["training_curves", str(run)]) == 0
    assert f"{run} has not finished (interrupted)" in capsys.readouterr().err
    assert main(["training_curves", str(tmp_path)]) == 2
    assert f"there are {run} (interrupted)" in capsys.readouterr().err


def test_a_folder_of_runs_is_loaded_as_its_newest(runs: Path) -> None:
    (model, _), (newest, _) = ablab.load(runs), ablab.load(runs / "newer")
    states = zip(model.state_dict().values(), newest.state_dict().values(), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in states)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["erors", "RUN"], "no kind 'erors'; did you mean 'errors'"),
        (["errors", "RUN/nowhere"], "neither it nor a folder below it"),
        (["errors", "RUN", "--top", "0"], "--top: should be greater than or equal to 1"),
        (["errors", "RUN", "--users", "few"], "--users: should be a valid integer"),
        (["errors", "RUN", "--users", "100"], "part test has no row of the users [100]"),
        (["top_losses", "RUN"], "is for PictureDataModule, and this run has Ratings; kinds for it"),
    ],
)
def test_an_error_is_one_line(
    runs: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main([argument.replace("RUN", str(runs / "older")) for argument in arguments]) == 2
    printed = capsys.readouterr()
    assert re.fullmatch(rf"error: [^\n]*{re.escape(message)}[^\n]*\n", printed.err)
    assert printed.out == ""


def test_help_lists_every_kind_by_what_the_run_was_trained_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert all(f"  {name} " in printed for kinds in KINDS.values() for name in kinds)
    assert "\nratings:\n  errors               The rows with the largest errors\n" in printed


@pytest.mark.parametrize("name", [name for kinds in KINDS.values() for name in kinds])
def test_every_kind_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert "RUN" in capsys.readouterr().out
