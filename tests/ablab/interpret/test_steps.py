"""Interpretations as steps of a run: refused early, never in the way, and where their files go."""

from pathlib import Path

import polars as pl
import pytest

from ablab.config.schema import Part
from ablab.errors import ConfigError
from ablab.findings import Findings
from ablab.runs.record import RunRecord
from lesson5.ratings.collab_filter import CollabFilter
from lesson5.ratings.module import RatingsDataModule
from tests.checks import checked
from tests.launch import TINY, launch

BY_BIAS = "interpret.step._target_=lesson5.ratings.interpret.items_by_bias.items_by_bias"


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("interpret.step.topp=3", "interpret.step.topp: unknown key; did you mean"),
        ("interpret.step.top=many", "interpret.step.top: should be"),
        ("interpret.step.model=3", "interpret.step.model: unknown key"),  # the run hands it over
    ],
)
def test_a_setting_that_is_wrong_is_refused(override: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        checked(["experiment=collab", BY_BIAS, override])


def test_a_step_for_other_models_is_refused_before_training(tmp_path: Path) -> None:
    of_tables = (
        "interpret.step._target_=lesson5.tables.interpret.embedding_features.embedding_features"
    )
    with pytest.raises(
        ConfigError, match=r"interpret\.step: is for EntityEmbedding, .*CollabFilter"
    ):
        launch([*TINY, of_tables], tmp_path / "run")
    assert RunRecord.read(tmp_path / "run").steps is None


def test_what_is_found_is_in_the_run_folder(tmp_path: Path) -> None:
    launch([*TINY, BY_BIAS, "interpret.step.top=3"], tmp_path / "run")
    table = pl.read_csv(tmp_path / "run" / "interpret" / "items_by_bias.csv")
    assert table["bias"].to_list() == sorted(table["bias"], reverse=True)
    assert table.columns == ["title", "bias", "mean_rating", "ratings"]


@pytest.mark.parametrize("precision", ["64-true", "bf16-true"])
def test_a_model_that_is_not_in_32_bits_is_looked_into(tmp_path: Path, precision: str) -> None:
    digits = ["data=synthetic_digits", "data.n_rows=100", "model=mnist_nn", "logger=csv"]
    digits += ["objective=classification", "trainer.max_epochs=1", "trainer.accelerator=cpu"]
    losses = "interpret.step._target_=ablab.interpret.pictures.top_losses.top_losses"
    launch([*digits, losses, f"trainer.precision={precision}"], tmp_path / "run")
    assert (tmp_path / "run" / "interpret" / "top_losses.csv").is_file()


def test_while_choosing_the_test_part_stays_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ABLAB_ALLOWED_TARGETS", "tests")
    reads = [
        f"interpret.{name}._target_={__name__}.{name}" for name in ("of_a_part", "of_the_test")
    ]
    launch([*TINY, *reads, "test=false", "data.validation_fraction=0.25"], tmp_path / "run")
    table = pl.read_csv(tmp_path / "run" / "interpret" / "rows.csv")
    assert table.to_dicts() == [{"part": "val", "rows": 450}]
    assert "interpret.of_the_test is left out" in capsys.readouterr().out


def of_a_part(data: RatingsDataModule, *, part: Part = "test") -> Findings:
    rows = {"part": [part], "rows": [len(data.parts[part][0])]}
    return Findings(tables={"rows": pl.DataFrame(rows)})


def of_the_test(data: RatingsDataModule) -> Findings:
    return of_a_part(data)


def fails(model: CollabFilter) -> Findings:
    raise RuntimeError(f"no font for {type(model).__name__}")


def test_a_step_that_fails_costs_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("ABLAB_ALLOWED_TARGETS", "tests")
    failing = f"interpret.first._target_={__name__}.fails"
    launch([*TINY, failing, BY_BIAS], tmp_path / "run")
    record = RunRecord.read(tmp_path / "run")
    assert record.status == "done"
    assert record.metrics["test"]
    assert (tmp_path / "run" / "interpret" / "items_by_bias.csv").is_file()
    assert "interpret.first failed" in caplog.text
    assert "no font for CollabFilter" in caplog.text
