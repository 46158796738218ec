"""Learned embeddings as features of other models: what each set holds, and the table of a run."""

import csv
import sys
from pathlib import Path

import pytest
import torch

import ablab
from ablab.data.tables.module import TableDataModule
from ablab.errors import DataError, UserError
from ablab.report.table.collect import collect
from ablab.report.table.rows import Spread
from ablab.runs.record import RunRecord
from lesson5.tables.embedding_features_report import FILE, gain, main, read_scores
from lesson5.tables.entity_embedding import EntityEmbedding
from lesson5.tables.interpret.embedding_features import FEATURE_SETS, embedding_features, features
from tests.launch import launch
from tests.lesson5.tables import TABLE

pytest.importorskip("sklearn")
STEP = "interpret.embedding_features"
NODE = [
    f"{STEP}._target_=lesson5.tables.interpret.embedding_features.embedding_features",
    f"{STEP}.trees=5",
]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of a run with the step; tests read it and never write to it."""
    folder = tmp_path_factory.mktemp("sweep")
    for seed in (0, 1):
        launch([*TABLE, *NODE, f"seed={seed}", "data.n_rows=1200"], folder / str(seed))
    return folder


def loaded(folder: Path) -> tuple[EntityEmbedding, TableDataModule]:
    model, data = ablab.load(folder)
    assert isinstance(model, EntityEmbedding)
    assert isinstance(data, TableDataModule)
    return model, data


def test_the_three_sets_hold_the_same_columns() -> None:
    model = EntityEmbedding([3, 4], 1, layers=[4], dropouts=[0.0])
    categories = torch.tensor([[0, 3], [2, 1]])
    continuous = torch.tensor([[0.5], [-0.5]])
    sets = {name: features(model, name, categories, continuous) for name in FEATURE_SETS}
    assert sets["ordinal"].tolist() == [[0, 3, 0.5], [2, 1, -0.5]]
    assert sets["one-hot"].tolist() == [[0, 0, 0, 0, 1, 0.5], [0, 1, 1, 0, 0, -0.5]]
    size = model.embeddings[0].weight.shape[1]  # type: ignore[union-attr, index]
    learned = torch.from_numpy(sets["embeddings"])
    assert torch.equal(learned[0, :size], torch.zeros(size))
    assert torch.equal(learned[1, :size], model.embeddings[0].weight[2])  # type: ignore[index]
    assert torch.equal(learned[:, -1:], continuous)


def test_a_run_writes_a_row_for_each_model_and_set(sweep: Path) -> None:
    with (sweep / "0" / FILE).open() as file:
        rows = list(csv.DictReader(file))
    scored = {(row["model"], row["features"]) for row in rows}
    assert len(rows) == len(scored) == 3 * 3 + 1
    recorded = RunRecord.read(sweep / "0").metrics["test"]
    (network,) = (row for row in rows if row["model"] == "network")
    for metric in ("mae", "rmsle", "rmse"):
        assert float(network[metric]) == pytest.approx(recorded[metric], rel=1e-4)


def test_neighbours_are_better_found_among_embeddings(sweep: Path) -> None:
    with (sweep / "0" / FILE).open() as file:
        mae = {(row["model"], row["features"]): float(row["mae"]) for row in csv.DictReader(file)}
    assert mae["KNN", "embeddings"] < mae["KNN", "one-hot"]


def test_with_test_false_no_test_row_is_measured(sweep: Path) -> None:
    model, data = loaded(sweep / "0")
    del data.parts["test"]
    scores = embedding_features(model, data, trees=2, test=False).tables["embedding_features"]
    assert scores["mae"].null_count() == len(scores) > 0
    assert (scores["val_mae"] > 0).all()


def test_it_needs_validation_rows(sweep: Path) -> None:
    model, data = loaded(sweep / "0")
    del data.parts["val"]
    with pytest.raises(DataError, match="validation rows"):
        embedding_features(model, data)


def test_without_scikit_learn_the_error_says_how_to_install_it(
    sweep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, data = loaded(sweep / "0")
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    with pytest.raises(UserError, match=r"pip install -e \.\[trees\]"):
        embedding_features(model, data)


def test_the_runs_of_a_sweep_are_averaged(
    sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys, values = read_scores(collect([sweep]))
    assert keys == []
    ours, rival = (values[(), "random forest", name]["mae"] for name in ("embeddings", "one-hot"))
    assert len(ours) == 2
    gains = [100 * (1 - a / b) for a, b in zip(ours, rival, strict=True)]
    told = gain(values, ((), "random forest", "one-hot"), "mae")
    assert told == Spread.of(gains)
    assert main([str(sweep)]) == 0
    assert "random forest" in capsys.readouterr().out
    assert main([str(tmp_path)]) == 2
    assert "no run.json" in capsys.readouterr().err
