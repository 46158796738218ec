"""``python -m ablab.interpret KIND RUN``, with what is right and with what is not."""

import shutil
from pathlib import Path

import polars as pl
import pytest
import torch

import ablab
from ablab.interpret.__main__ import main
from ablab.interpret.kinds import KINDS
from ablab.runs.record import RunRecord
from tests.launch import TINY, launch


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two runs; tests add files to it and change none."""
    folder = tmp_path_factory.mktemp("runs")
    for seed, name in enumerate(("older", "newer")):
        launch([*TINY, "trainer.max_epochs=1", f"seed={seed}"], folder / name)
    return folder


def test_a_kind_of_a_run(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["items_by_bias", str(runs / "older"), "--min-ratings", "1", "--top", "2"]) == 0
    file = runs / "older" / "interpret" / "items_by_bias.csv"
    told = capsys.readouterr().out
    assert f"\n{file}\n" in told
    best = pl.read_csv(file)["title"].to_list()
    assert [title in told for title in (best[0], best[1], best[-1])] == [True] * 3
    assert best[2] not in told


@pytest.mark.parametrize(
    "arguments",
    [
        ["recommend", "--user", "7"],
        ["recommend", "--likes", "Film 1 (1901)", "film 2", "--min-ratings", "1"],
        ["similar_items", "--item", "Film 3 (1903)", "--top", "2"],
        ["item_factors", "--y-axis", "3"],
    ],
    ids=" ".join,
)
def test_settings_of_a_kind(runs: Path, arguments: list[str]) -> None:
    kind, *settings = arguments
    assert main([kind, str(runs / "older"), *settings]) == 0
    assert len(pl.read_csv(runs / "older" / "interpret" / f"{kind}.csv")) > 0


def test_of_a_folder_of_runs_the_newest_is_taken(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["training_curves", str(runs)]) == 0
    picture = runs / "newer" / "interpret" / "training_curves.png"
    assert capsys.readouterr().out.strip() == str(picture)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_run_that_is_not_finished_is_said_to_be_so(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "stopped"
    shutil.copytree(runs / "older", run)
    record = RunRecord.read(run)
    record.status = "interrupted"
    record.write(run)
    assert main(["training_curves", str(run)]) == 0
    assert f"{run} is not finished (interrupted)" in capsys.readouterr().err
    assert main(["training_curves", str(tmp_path)]) == 2
    assert f"there are {run} (interrupted)" in capsys.readouterr().err


def test_a_folder_of_runs_is_loaded_as_its_newest(runs: Path) -> None:
    (model, _), (newest, _) = ablab.load(runs), ablab.load(runs / "newer")
    states = zip(model.state_dict().values(), newest.state_dict().values(), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in states)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["items_by_bais", "RUNS"], "did you mean 'items_by_bias'"),
        (["items_by_bias", "RUNS/nowhere"], "neither it nor a folder below it"),
        (["items_by_bias", "RUNS", "--top", "0"], "--top: should be greater than or equal to 1"),
        (["items_by_bias", "RUNS", "--top", "few"], "--top: should be a valid integer"),
        (["recommend", "RUNS", "--user", "100"], "user '100': has no training rating"),
        (["similar_items", "RUNS", "--item", "ilm 1"], "may be 'Film 1 (1901)'"),
        (["embedding_features", "RUNS"], "is for EntityEmbedding, and this run has CollabFilter"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(
    runs: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    assert main([argument.replace("RUNS", str(runs)) for argument in arguments]) == 2
    captured = capsys.readouterr()
    (line,) = (x for x in captured.err.splitlines() if not x.startswith("of the newest run there"))
    assert line.startswith("error: ")
    assert told in line
    assert captured.out == ""


def test_help_names_every_kind(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert all(f"  {name} " in told for kinds in KINDS.values() for name in kinds)


@pytest.mark.parametrize("name", [name for kinds in KINDS.values() for name in kinds])
def test_every_kind_has_help_of_its_own(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert "RUN" in capsys.readouterr().out
