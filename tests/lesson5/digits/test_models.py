"""The lesson's models of digits: their formula, and our run against the lesson's own loop."""

from pathlib import Path

import pytest
import torch
from torch import nn

import ablab
from ablab.optim.groups import plan_parameters
from ablab.runs.record import RunRecord
from lesson5.digits.models import MnistLogistic, MnistNN
from tests.checks import checked, learned
from tests.launch import ROOT, launch

DIGITS = [
    "data=synthetic_digits",
    "data.n_rows=500",
    "trainer.accelerator=cpu",
    "trainer.max_epochs=2",
    "logger=csv",
]


@pytest.mark.parametrize(
    ("model", "count"),
    [
        (MnistLogistic(784, 10), 7_850),
        (MnistNN(784, 10), 39_760),
        (MnistNN(784, 10, n_hidden=8, batch_norm=True), 784 * 8 + 8 + 2 * 8 + 8 * 10 + 10),
    ],
)
def test_parameter_counts(model: nn.Module, count: int) -> None:
    assert sum(p.numel() for p in model.parameters()) == count


def test_parameters_are_named_as_in_the_lesson() -> None:
    assert [*MnistLogistic(4, 3).state_dict()] == ["lin.weight", "lin.bias"]
    assert [*MnistNN(4, 3).state_dict()] == [
        "lin1.weight",
        "lin1.bias",
        "lin2.weight",
        "lin2.bias",
    ]


def test_the_formula() -> None:
    pixels = torch.rand(5, 7)
    logistic, network = MnistLogistic(7, 3), MnistNN(7, 3, n_hidden=4)
    torch.testing.assert_close(logistic(pixels), pixels @ logistic.lin.weight.T + logistic.lin.bias)
    hidden = (pixels @ network.lin1.weight.T + network.lin1.bias).clamp(min=0)
    torch.testing.assert_close(network(pixels), hidden @ network.lin2.weight.T + network.lin2.bias)


def test_dropout_is_active_in_training_alone() -> None:
    torch.manual_seed(0)
    model, pixels = MnistNN(7, 3, n_hidden=1000, dropout=0.5), torch.rand(2, 7)
    assert not torch.equal(model(pixels), model(pixels))
    mean = torch.stack([model(pixels) for _ in range(500)]).mean(dim=0)
    model.eval()
    assert torch.equal(model(pixels), model(pixels))
    torch.testing.assert_close(mean, model(pixels), atol=0.05, rtol=0)


def test_batch_norm_normalises_before_the_relu() -> None:
    model, pixels = MnistNN(7, 3, n_hidden=4, batch_norm=True), 5 * torch.rand(64, 7)
    activations = model.lin1(pixels)
    normal = (activations - activations.mean(dim=0)) / (
        activations.var(dim=0, unbiased=False) + 1e-5
    ).sqrt()
    torch.testing.assert_close(model(pixels), model.lin2(normal.relu()))


@pytest.mark.parametrize("batch_norm", [False, True])
def test_two_layer_groups_at_their_own_rates(batch_norm: bool) -> None:
    optim = checked(
        ["model=mnist_nn", *DIGITS, "optim.lr=0.01", "optim.lr_spread={kind: flat, div: 4}"]
    ).optim
    plans = plan_parameters(MnistNN(784, 10, batch_norm=batch_norm), optim)
    assert {(p.group, p.name.split(".")[0], p.lr) for p in plans} == {
        ("hidden", "lin1", 0.0025),
        *([("hidden", "bn1", 0.0025)] if batch_norm else []),
        ("output", "lin2", 0.01),
    }


def test_equals_the_lessons_update_written_by_hand(tmp_path: Path) -> None:
    """loss + wd Σ p² over all parameters, then p -= lr · gradient: the lesson's cell."""
    recipe = ["experiment=mnist_sgd_l2", *DIGITS, "optim.weight_decay.value=1e-2"]
    launch(recipe, tmp_path / "run")
    _, data = ablab.load(tmp_path / "run")
    torch.manual_seed(0)
    model = MnistLogistic(784, 10)
    pixels, labels = data.parts["train"]
    loader = data.train_dataloader()
    for epoch in range(2):
        for rows in loader.order(epoch).split(64):
            w2 = sum((p**2).sum() for p in model.parameters())
            loss = nn.functional.cross_entropy(model(pixels[rows]), labels[rows]) + 1e-2 * w2
            loss.backward()
            with torch.no_grad():
                for p in model.parameters():
                    assert p.grad is not None
                    p.sub_(2e-2 * p.grad)
                    p.grad.zero_()
    found = learned(tmp_path / "run")
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.detach(), atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize("experiment", ["mnist_logistic", "mnist_nn"])
def test_synthetic_digits_are_learned(tmp_path: Path, experiment: str) -> None:
    launch([f"experiment={experiment}", *DIGITS], tmp_path / "run")
    record = RunRecord.read(tmp_path / "run")
    assert record.metrics["test"]["accuracy"] > 0.95
    assert record.baselines["most frequent class"]["accuracy"] < 0.3


@pytest.mark.parametrize("experiment", ["mnist_logistic", "mnist_nn", "mnist_sgd_l2"])
def test_experiments_compose_with_full_mnist(experiment: str) -> None:
    assert checked([f"experiment={experiment}"]).data["_target_"].endswith(".MNIST5K")
    full = checked([f"experiment={experiment}", "data=mnist"])
    assert full.data["_target_"].endswith(".MNIST")
    assert full.name == experiment


@pytest.mark.slow
def test_the_network_learns_the_real_digits(tmp_path: Path) -> None:
    overrides = [f"paths.data={ROOT / 'data'}", "trainer.accelerator=cpu", "logger=csv"]
    few = ["trainer.max_epochs=5", "interpret=none"]
    launch(["experiment=mnist_nn", *overrides, *few], tmp_path / "run")
    record = RunRecord.read(tmp_path / "run")
    assert record.metrics["test"]["accuracy"] >= 0.90
    assert record.baselines["most frequent class"]["accuracy"] == pytest.approx(0.1)
