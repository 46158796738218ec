"""The lesson's kinds of ``ablab interpret``, on a run of drawn ratings."""

from pathlib import Path

import polars as pl
import pytest

from ablab.interpret.__main__ import main
from lesson5.interpretations import KINDS
from tests.launch import launch
from tests.lesson5 import TINY


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; tests add files to it and change none."""
    folder = tmp_path_factory.mktemp("run")
    launch([*TINY, "trainer.max_epochs=1"], folder)
    return folder


@pytest.mark.parametrize(
    "arguments",
    [
        ["items_by_bias", "--min-ratings", "1", "--top", "2"],
        ["items_by_count"],
        ["recommend", "--user", "7"],
        ["recommend", "--likes", "Film 1 (1901)", "film 2", "--min-ratings", "1"],
        ["similar_items", "--item", "Film 3 (1903)", "--top", "2"],
        ["item_factors", "--y-axis", "3"],
    ],
    ids=" ".join,
)
def test_a_kind_writes_its_table(run: Path, arguments: list[str]) -> None:
    kind, *settings = arguments
    assert main([kind, str(run), *settings]) == 0
    assert len(pl.read_csv(run / "interpret" / f"{kind}.csv")) > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["recommend", "RUN", "--user", "100"], "user '100': has no training rating"),
        (["recommend", "RUN", "--likes", "ilm 1"], "may be 'Film 1 (1901)'"),
        (["category_maps", "RUN"], "is for EntityEmbedding, and this run has CollabFilter"),
    ],
)
def test_an_error_is_one_line(
    run: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main([argument.replace("RUN", str(run)) for argument in arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line


@pytest.mark.parametrize("name", [name for kinds in KINDS.values() for name in kinds])
def test_every_kind_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert "RUN" in capsys.readouterr().out
