"""Entity embeddings: sizes, layout, the unknown category, and a fit that learns."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import ablab
from ablab.errors import ConfigError
from ablab.optim.groups import classify
from ablab.runs.record import RunRecord
from ablab.training.build import build_data, build_model
from ablab.training.losses import activation_of
from ablab.training.trial import check_on_two_rows
from lesson5.tables.entity_embedding import EntityEmbedding, embedding_size
from lesson5.tables.objective import RootMeanSquaredLogError, SquaredLogError
from tests.checks import checked
from tests.launch import launch
from tests.lesson5.tables import TABLE


def model(**changes: object) -> EntityEmbedding:
    arguments = {"n_categories": [4, 25], "n_continuous": 2, "layers": [8, 6]}
    return EntityEmbedding(**{**arguments, "dropouts": [0.0, 0.0], **changes})  # type: ignore[arg-type]


def batch(rows: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    categories = [torch.randint(n, (rows,), generator=generator) for n in (4, 25)]
    return torch.stack(categories, dim=1), torch.randn(rows, 2, generator=generator)


@pytest.mark.parametrize(
    ("n", "course", "later"),
    [
        (2, 2, 2),
        (3, 2, 3),
        (7, 4, 5),
        (12, 7, 6),
        (24, 13, 9),
        (54, 28, 15),
        (100, 50, 21),
        (1000, 50, 77),
        (1116, 50, 81),
        (10000, 50, 278),
    ],
)
def test_sizes_are_those_of_both_fastai_rules(n: int, course: int, later: int) -> None:
    assert (embedding_size(n, 2018), embedding_size(n, "later")) == (course, later)
    built = model(n_categories=[n], n_continuous=0, embedding_size_rule=2018)
    assert [layer.weight.shape for layer in built.embeddings] == [(n, course)]


def test_the_layout_is_that_of_fastai_v1() -> None:
    kinds = [type(layer) for layer in model().layers]
    block = [nn.BatchNorm1d, nn.Dropout, nn.Linear]
    assert kinds == [nn.Linear, nn.ReLU, *block, nn.ReLU, *block]
    assert nn.BatchNorm1d not in {type(m) for m in model(batch_norm=False).modules()}


@pytest.mark.parametrize("y_range", [None, (0.0, 7.0)])
def test_the_output_is_a_row_each_within_the_range(y_range: tuple[float, float] | None) -> None:
    network = model(y_range=y_range).eval()
    with torch.no_grad():
        network.layers[-1].weight.fill_(1e3)  # type: ignore[union-attr]
        output = network(*batch())
    assert output.shape == (5,)
    if y_range is not None:
        assert ((output >= 0) & (output <= 7)).all()


def test_the_prediction_is_the_formula() -> None:
    torch.manual_seed(0)
    network = model().double().eval()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm1d):
            layer.running_mean.normal_()  # type: ignore[union-attr]
            layer.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    state = network.state_dict()

    def normalised(x: torch.Tensor, name: str) -> torch.Tensor:
        x = (x - state[f"{name}.running_mean"]) / (state[f"{name}.running_var"] + 1e-5).sqrt()
        return x * state[f"{name}.weight"] + state[f"{name}.bias"]

    categories, continuous = batch()
    rows = [state[f"embeddings.{i}.weight"][categories[:, i]] for i in range(2)]
    x = torch.cat([*rows, normalised(continuous.double(), "continuous_norm")], dim=1)
    for index in (0, 4, 8):
        x = x if index == 0 else normalised(x.relu(), f"layers.{index - 2}")
        x = x @ state[f"layers.{index}.weight"].T + state[f"layers.{index}.bias"]
    torch.testing.assert_close(network(categories, continuous.double()), x.squeeze(1))


@pytest.mark.parametrize(("categories", "continuous"), [([4, 25], 0), ([], 2)])
def test_one_kind_of_column_is_enough(categories: list[int], continuous: int) -> None:
    network = model(n_categories=categories, n_continuous=continuous)
    given, numbers = batch()
    output = network(given[:, : len(categories)], numbers[:, :continuous])
    assert output.isfinite().all()
    groups = network.layer_groups()
    parameters = [p for parts in groups.values() for part in parts for p in part.parameters()]
    assert len({id(p) for p in parameters}) == len(list(network.parameters()))


def test_what_cannot_be_built_is_told() -> None:
    with pytest.raises(ConfigError, match="1 for 2 layers"):
        model(dropouts=[0.1])
    with pytest.raises(ConfigError, match="no column"):
        model(n_categories=[], n_continuous=0)


def test_roles_and_initial_values() -> None:
    network = model()
    roles = classify(network)
    assert roles["embeddings.0.weight"] == "embedding"
    assert roles["continuous_norm.weight"] == roles["layers.2.bias"] == "norm"
    for layer in network.embeddings:
        assert layer.weight[0].abs().max() == 0  # type: ignore[union-attr]
        assert 0 < layer.weight[1:].abs().max() <= 0.02  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a synthetic table; tests read it and never write to it."""
    folder = tmp_path_factory.mktemp("table") / "run"
    launch(TABLE, folder)
    return folder


def test_a_fit_beats_the_mean_by_far(finished: Path) -> None:
    record = RunRecord.read(finished)
    measured, mean = record.metrics["test"], record.baselines["mean"]
    assert measured["rmsle"] < 0.5 * mean["rmsle"]
    assert measured["mae"] < 0.5 * mean["mae"]
    assert measured["rmsle"] ** 2 == pytest.approx(measured["loss"], rel=1e-3)


def test_the_metrics_are_the_formulas(finished: Path) -> None:
    network, data = ablab.load(finished)
    *inputs, target = data.parts["test"]
    with torch.no_grad():
        predicted = np.expm1(network(*inputs).double().numpy())
    y = target.double().numpy()
    recorded = RunRecord.read(finished).metrics["test"]
    formulas = {
        "rmse": np.sqrt(np.mean((predicted - y) ** 2)),
        "mae": np.mean(np.abs(predicted - y)),
        "rmsle": np.sqrt(np.mean((np.log1p(predicted) - np.log1p(y)) ** 2)),
        "mape": np.mean(np.abs(predicted - y) / np.maximum(y, 1.17e-6)),
    }
    for name, value in formulas.items():
        assert recorded[name] == pytest.approx(value, rel=1e-4), name


def test_squared_log_error_is_that_of_its_predictions() -> None:
    output, target = torch.randn(9, dtype=torch.float64), 10 * torch.rand(9, dtype=torch.float64)
    loss = SquaredLogError()
    prediction = loss.activation(output)
    expected = (torch.log1p(prediction) - torch.log1p(target)).square().mean()
    torch.testing.assert_close(loss(output, target), expected)
    assert activation_of(loss)(torch.tensor([0.0])).item() == 0.0


def test_the_root_is_taken_over_all_batches() -> None:
    metric = RootMeanSquaredLogError()
    y, z = torch.rand(10) * 100, torch.rand(10) * 5
    for rows in (slice(0, 7), slice(7, 10)):
        metric.update(SquaredLogError().activation(z[rows]), y[rows])
    torch.testing.assert_close(metric.compute(), (z - y.log1p()).square().mean().sqrt())


def test_the_range_of_logs_is_compared_with_the_targets(
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = checked([*TABLE, "model.y_range=[0,1]"])
    data = build_data(config)
    check_on_two_rows(config, build_model(config, data), data)
    assert "from 0 to 1.71828, but" in capsys.readouterr().out  # e - 1


def test_training_leaves_the_unknown_category_at_zero(finished: Path) -> None:
    network, _ = ablab.load(finished)
    hour, holiday, place, _ = network.embeddings  # type: ignore[misc]
    assert hour.weight[0].abs().max() == holiday.weight[0].abs().max() == 0
    assert place.weight[0].abs().max() > 0  # met in training: missing places
