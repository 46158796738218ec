"""Metrics of several numbers, and what they take from the data."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torchmetrics import Metric

import ablab
from ablab.errors import ConfigError
from ablab.report.table.comparison import metric_names
from ablab.runs.history import read_history
from ablab.runs.record import RunRecord
from ablab.training.build import build_data, build_model
from ablab.training.metrics import named_values
from ablab.training.trial import check_on_two_rows
from tests.checks import checked
from tests.launch import launch

POINTS = [
    *("data=points", "data.n_rows=300", "data.n_classes=3", "model=net", "logger=csv"),
    *("objective=classification", "trainer.accelerator=cpu", "trainer.max_epochs=1"),
]
MIN = "objective.mode=min"


def metric(name: str, target: str, **settings: str) -> str:
    said = "".join(f", {key}: {value}" for key, value in settings.items())
    return f"objective.metrics.{name}={{_target_: torchmetrics.{target}{said}}}"


class EachRow(Metric):
    """The error of each row."""

    full_state_update = False

    def __init__(self) -> None:
        super().__init__()
        self.add_state("errors", [], dist_reduce_fx="cat")

    def update(self, prediction: Tensor, target: Tensor) -> None:
        self.errors.append(prediction - target)

    def compute(self) -> Tensor:
        return torch.cat(self.errors)


def test_each_number_has_a_name() -> None:
    assert named_values("a", torch.tensor(0.5)) == {"a": 0.5}
    assert named_values("a", torch.tensor([0.5])) == {"a": 0.5}
    assert named_values("a", torch.tensor([0.5, 0.25])) == {"a/0": 0.5, "a/1": 0.25}
    assert named_values("a", torch.tensor([0.5, 0.25]), ["cat", "dog"]) == {
        "a/cat": 0.5,
        "a/dog": 0.25,
    }
    assert named_values("a", {"multiclassrecall_1": torch.tensor(1.0)}, ["cat", "dog"]) == {
        "a/dog": 1.0
    }
    assert named_values("a", {"low": {"p": 1.0}, "high": torch.tensor([2.0, 3.0])}) == {
        "a/low/p": 1.0,
        "a/high/0": 2.0,
        "a/high/1": 3.0,
    }
    matrix = torch.tensor([[3, 1], [0, 2]])
    cells = {"m/cat/cat": 3.0, "m/cat/dog": 1.0, "m/dog/cat": 0.0, "m/dog/dog": 2.0}
    assert named_values("m", matrix, ["cat", "dog"]) == cells


def test_a_run_keeps_each_number_and_shows_the_single_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    several = [
        metric("recall", "classification.MulticlassRecall", average="none"),
        metric(
            "wise",
            "wrappers.ClasswiseWrapper",
            metric="{_target_: torchmetrics.Precision, average: none}",
        ),
        metric("confusion", "ConfusionMatrix"),
    ]
    launch([*POINTS, *several, metric("f1", "F1Score", average="macro")], tmp_path)
    record = RunRecord.read(tmp_path)
    tested = record.metrics["test"]
    each = [*(f"recall/{i}" for i in range(3)), *(f"wise/{i}" for i in range(3))]
    each += [f"confusion/{i}/{j}" for i in range(3) for j in range(3)]
    assert tested.keys() == {"loss", "accuracy", "f1", *each}
    for i in range(3):  # a row of the matrix is a class's true rows
        row = [tested[f"confusion/{i}/{j}"] for j in range(3)]
        assert tested[f"recall/{i}"] == pytest.approx(row[i] / sum(row))
    columns, _ = read_history(tmp_path / "metrics.csv")
    assert {f"val/{name}" for name in each} <= set(columns)
    assert metric_names([record]) == ["test/accuracy", "test/f1", "val/accuracy"]
    shown = capsys.readouterr().out
    assert "15 more numbers" in shown
    assert "recall" not in shown


def test_the_chosen_checkpoint_is_measured_on_the_training_part_on_request(tmp_path: Path) -> None:
    launch([*POINTS, "objective.train_metrics=true", "objective.metric=loss", MIN], tmp_path)
    record = RunRecord.read(tmp_path)
    model, data = ablab.load(tmp_path)
    points, labels = data.parts["train"]  # type: ignore[attr-defined]
    with torch.no_grad():
        right = (model(points).argmax(dim=1) == labels).double().mean()
    assert record.metrics["chosen"]["train/accuracy"] == pytest.approx(float(right))
    assert "train/accuracy" not in record.metrics["last"]
    assert metric_names([record]) == ["test/loss", "test/accuracy", "val/loss"]


def test_a_loss_that_is_maximised_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"objective\.mode: .* set objective\.mode=min"):
        checked([*POINTS, "objective.metric=loss"])


def test_what_is_not_asked_for_leaves_the_identity_of_a_config() -> None:
    assert "train_metrics" not in checked(POINTS).model_dump()["objective"]


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (
            [metric("recall", "Recall", average="none"), "objective.metric=recall"],
            "objective.metric: 'recall' gives several numbers",
        ),
        (["objective.loss.reduction=none"], "objective.loss: returns 2 numbers for two rows"),
        ([metric("labels", "classification.MultilabelAccuracy")], "metrics.labels: .*num_labels"),
    ],
)
def test_what_cannot_be_compared_is_refused(overrides: list[str], told: str) -> None:
    config = checked([*POINTS, *overrides])
    data = build_data(config)
    with pytest.raises(ConfigError, match=told):
        check_on_two_rows(config, build_model(config, data), data)


def test_a_metric_of_each_row_is_refused() -> None:
    config = checked(["logger=csv"])
    data = build_data(config)
    model = build_model(config, data)
    model.set_objective(model.loss_function, {"each": EachRow()})
    with pytest.raises(ConfigError, match=r"metrics\.each: gives a number for each row"):
        check_on_two_rows(config, model, data)
