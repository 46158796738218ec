"""The collaborative filter against its formula."""

from pathlib import Path

import pytest
import torch

import ablab
from ablab.optim.groups import BiasEmbedding
from lesson5.ratings.collab_filter import CollabFilter
from tests.launch import launch
from tests.lesson5 import TINY

USERS = torch.tensor([1, 2, 2, 0, 3])
ITEMS = torch.tensor([4, 1, 0, 2, 3])


def filled(model: torch.nn.Module) -> torch.nn.Module:
    torch.manual_seed(3)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    return model


@pytest.mark.parametrize("y_range", [None, (0.0, 5.5), (1.0, 5.0)])
def test_the_formula_row_by_row(y_range: tuple[float, float] | None) -> None:
    model = filled(CollabFilter(4, 5, n_factors=3, y_range=y_range))
    p, q, b_u, b_i = (
        layer.weight.double()  # type: ignore[union-attr]
        for layer in (model.u_weight, model.i_weight, model.u_bias, model.i_bias)
    )
    expected = []
    for u, i in zip(USERS.tolist(), ITEMS.tolist(), strict=True):
        score = sum(p[u, k] * q[i, k] for k in range(3)) + b_u[u, 0] + b_i[i, 0]
        if y_range is not None:
            low, high = y_range
            score = low + (high - low) / (1 + torch.exp(-score))
        expected.append(score)
    torch.testing.assert_close(model(USERS, ITEMS).double(), torch.stack(expected))


def test_without_biases_it_is_the_dot_product() -> None:
    model = CollabFilter(4, 5, n_factors=3, y_range=None, biases=False)
    assert [name for name, _ in model.named_parameters()] == ["u_weight.weight", "i_weight.weight"]
    filled(model)
    expected = torch.stack(
        [
            model.u_weight.weight[u] @ model.i_weight.weight[i]
            for u, i in zip(USERS, ITEMS, strict=True)
        ]
    )
    torch.testing.assert_close(model(USERS, ITEMS), expected)


def test_a_row_lookup_is_the_product_with_a_one_hot_matrix() -> None:
    model = filled(CollabFilter(4, 5, n_factors=3, y_range=None))
    one_hot_users = torch.nn.functional.one_hot(USERS, 4).float()
    one_hot_items = torch.nn.functional.one_hot(ITEMS, 5).float()
    product = (one_hot_users @ model.u_weight.weight) * (one_hot_items @ model.i_weight.weight)
    biases = one_hot_users @ model.u_bias.weight + one_hot_items @ model.i_bias.weight
    torch.testing.assert_close(model(USERS, ITEMS), product.sum(1) + biases.squeeze(1))


def test_initial_values_are_small_wrapped_and_zero_for_the_unknown() -> None:
    model = CollabFilter(2000, 2000, n_factors=10)
    for parameter in model.parameters():
        assert parameter[0].abs().max() == 0
        assert 0.008 < parameter[1:].std() < 0.01  # wrapping takes from 0.01
        assert parameter.abs().max() <= 0.02


def test_biases_are_known_by_their_class() -> None:
    model = CollabFilter(4, 5)
    names = {name for name, m in model.named_modules() if isinstance(m, BiasEmbedding)}
    assert names == {"u_bias", "i_bias"}


def test_the_unknown_get_the_answer_of_the_biases(tmp_path: Path) -> None:
    launch(TINY, tmp_path)
    model, data = ablab.load(tmp_path)
    users, items = data.encode([1, 999_999, 999_999], [999_999, 1, 999_999])  # type: ignore[attr-defined]
    assert users.tolist()[1:] == [0, 0]
    assert items.tolist()[0] == items.tolist()[2] == 0
    with torch.no_grad():
        found = model(torch.from_numpy(users), torch.from_numpy(items))
        u_bias, i_bias = model.u_bias.weight[users[0], 0], model.i_bias.weight[items[1], 0]
        expected = torch.sigmoid(torch.stack([u_bias, i_bias, torch.tensor(0.0)])) * 5.5
    torch.testing.assert_close(found, expected)
