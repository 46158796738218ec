"""Interpretations as the last steps of a run: which are refused, and what a failure costs."""

from pathlib import Path

import polars as pl
import pytest

from ablab.config.schema import Part
from ablab.errors import ConfigError
from ablab.findings import Findings
from ablab.runs.record import RunRecord
from tests.checks import checked
from tests.launch import TINY, launch
from toy.data import Ratings
from toy.models import Factors

ERRORS = "interpret.step._target_=toy.interpretations.errors"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("interpret.step.topp=3", "interpret.step.topp: unknown key; did you mean"),
        ("interpret.step.top=many", "interpret.step.top: should be"),
        ("interpret.step.model=3", "interpret.step.model: unknown key"),  # the run gives it
    ],
)
def test_a_wrong_setting_is_refused(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        checked([*TINY, ERRORS, override])


def test_a_step_for_other_data_is_refused_before_training(tmp_path: Path) -> None:
    losses = "interpret.step._target_=ablab.interpret.pictures.top_losses.top_losses"
    with pytest.raises(
        ConfigError, match=r"interpret\.step: is for PictureDataModule, and this run has Ratings"
    ):
        launch([*TINY, losses], tmp_path / "run")
    assert RunRecord.read(tmp_path / "run").steps is None


@pytest.mark.parametrize("precision", ["32-true", "64-true", "bf16-true"])
def test_findings_are_in_the_run_folder_whatever_the_precision(
    tmp_path: Path, precision: str
) -> None:
    overrides = [*TINY, "trainer.max_epochs=1", f"trainer.precision={precision}"]
    launch([*overrides, ERRORS], tmp_path / "run")
    table = pl.read_csv(tmp_path / "run" / "interpret" / "errors.csv")
    assert table["error"].to_list() == sorted(table["error"], reverse=True)
    assert table.columns == ["user", "item", "error"]


def test_with_test_false_the_test_part_stays_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ABLAB_ALLOWED_TARGETS", "tests")
    reads = [
        f"interpret.{name}._target_={__name__}.{name}" for name in ("of_a_part", "of_the_test")
    ]
    launch([*TINY, *reads, "test=false", "data.validation_fraction=0.25"], tmp_path / "run")
    table = pl.read_csv(tmp_path / "run" / "interpret" / "rows.csv")
    assert table.to_dicts() == [{"part": "val", "rows": 450}]
    assert "interpret.of_the_test is skipped" in capsys.readouterr().out


def of_a_part(data: Ratings, *, part: Part = "test") -> Findings:
    rows = {"part": [part], "rows": [len(data.parts[part][0])]}
    return Findings(tables={"rows": pl.DataFrame(rows)})


def of_the_test(data: Ratings) -> Findings:
    return of_a_part(data)


def fails(model: Factors) -> Findings:
    raise RuntimeError(f"no font for {type(model).__name__}")


def test_a_step_that_fails_costs_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("ABLAB_ALLOWED_TARGETS", "tests")
    failing = f"interpret.first._target_={__name__}.fails"
    launch([*TINY, failing, ERRORS], tmp_path / "run")
    record = RunRecord.read(tmp_path / "run")
    assert record.status == "done"
    assert record.metrics["test"]
    assert (tmp_path / "run" / "interpret" / "errors.csv").is_file()
    assert "interpret.first failed (RuntimeError: no font for Factors)" in caplog.text
