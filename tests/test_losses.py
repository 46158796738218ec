"""The activation that belongs to a loss: equal to the loss's own idea of a probability."""

import pytest
import torch
from torch import nn

from lab.losses import SquaredLogError, activation_of, loss_per_row, sum_and_count


def test_cross_entropy_takes_logits_and_predicts_probabilities() -> None:
    logits, target = torch.randn(5, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 1, 0])
    loss = nn.CrossEntropyLoss()
    probabilities = activation_of(loss)(logits)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(5, dtype=torch.float64))
    by_hand = -probabilities[range(5), target].log().mean()
    torch.testing.assert_close(loss(logits, target), by_hand)


@pytest.mark.parametrize(
    ("loss", "output", "expected"),
    [
        (nn.BCEWithLogitsLoss(), 0.0, 0.5),
        (nn.NLLLoss(), 0.0, 1.0),
        (nn.PoissonNLLLoss(), 0.0, 1.0),
        (nn.PoissonNLLLoss(log_input=False), 3.0, 3.0),
        (nn.MSELoss(), 3.0, 3.0),
        (SquaredLogError(), 0.0, 0.0),
    ],
    ids=repr,
)
def test_the_activation_follows_the_loss(loss: nn.Module, output: float, expected: float) -> None:
    assert activation_of(loss)(torch.tensor([output])).item() == pytest.approx(expected)


def test_squared_log_error_is_that_of_its_predictions() -> None:
    output, target = torch.randn(9, dtype=torch.float64), 10 * torch.rand(9, dtype=torch.float64)
    loss = SquaredLogError()
    prediction = loss.activation(output)
    expected = (torch.log1p(prediction) - torch.log1p(target)).square().mean()
    torch.testing.assert_close(loss(output, target), expected)


class HalfLoss(nn.Module):
    """A user's own, with an activation of its own."""

    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (output / 2 - target).square().mean()

    def activation(self, output: torch.Tensor) -> torch.Tensor:
        return output / 2


def test_a_loss_may_bring_its_own_activation() -> None:
    assert activation_of(HalfLoss())(torch.tensor([3.0])).item() == 1.5


@pytest.mark.parametrize(
    "loss",
    [
        nn.CrossEntropyLoss(),
        nn.CrossEntropyLoss(label_smoothing=0.1),
        nn.MultiMarginLoss(),
    ],
)
def test_losses_of_rows_are_those_of_batches_of_one(loss: nn.Module) -> None:
    torch.manual_seed(0)
    output, target = torch.randn(5, 3), torch.tensor([0, 2, 1, 1, 0])
    expected = [float(loss(output[i : i + 1], target[i : i + 1])) for i in range(5)]
    assert loss_per_row(loss, output, target).tolist() == pytest.approx(expected)
    assert loss_per_row(loss, output, target).mean() == pytest.approx(float(loss(output, target)))


def test_a_loss_without_reduction_is_taken_row_by_row() -> None:
    output, target = torch.tensor([0.0, 1.0]), torch.tensor([0.0, 0.0])
    assert loss_per_row(SquaredLogError(), output, target).tolist() == [0, 1]


CLASS_WEIGHTS = torch.tensor([0.1, 2.0, 3.0])


@pytest.mark.parametrize(
    "loss",
    [
        nn.CrossEntropyLoss(),
        nn.CrossEntropyLoss(weight=CLASS_WEIGHTS),
        nn.CrossEntropyLoss(ignore_index=2),
        nn.CrossEntropyLoss(weight=CLASS_WEIGHTS, ignore_index=2, label_smoothing=0.1),
        nn.NLLLoss(weight=CLASS_WEIGHTS),
        nn.MultiMarginLoss(weight=CLASS_WEIGHTS),
    ],
    ids=repr,
)
@pytest.mark.parametrize("batch", [1, 4, 10])
def test_the_loss_of_all_rows_does_not_depend_on_the_batches(loss: nn.Module, batch: int) -> None:
    torch.manual_seed(0)
    output, target = torch.randn(10, 3), torch.tensor([2, 2, 2, 2, 0, 1, 1, 0, 2, 1])
    parts = zip(output.split(batch), target.split(batch), strict=True)
    pairs = [sum_and_count(loss, loss(o, t), t) for o, t in parts]
    of_all = sum(float(total) for total, _ in pairs) / sum(float(count) for _, count in pairs)
    assert of_all == pytest.approx(float(loss(output, target)))


def test_a_summed_loss_is_counted_by_rows() -> None:
    loss, target = nn.MSELoss(reduction="sum"), torch.zeros(3)
    total, count = sum_and_count(loss, loss(torch.ones(3), target), target)
    assert float(total) / count == 1
