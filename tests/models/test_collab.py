"""The collaborative filter against its formula, and the ensemble against members trained alone."""

import re
from pathlib import Path

import pytest
import torch

from lab.models.collab import CollabEnsemble, CollabFilter
from lab.optim.groups import BiasEmbedding
from lab.record import RunRecord
from tests.launch import TINY, launch
from tests.test_run import weights

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


def member(ensemble: CollabEnsemble, number: int, n_factors: int) -> CollabFilter:
    """The member as a model of its own."""
    n_users, n_items = ensemble.u_bias.num_embeddings, ensemble.i_bias.num_embeddings
    alone = CollabFilter(n_users, n_items, n_factors, ensemble.y_range)
    factors = slice(number * n_factors, (number + 1) * n_factors)
    with torch.no_grad():
        alone.u_weight.weight.copy_(ensemble.u_weight.weight[:, factors])
        alone.i_weight.weight.copy_(ensemble.i_weight.weight[:, factors])
        alone.u_bias.weight.copy_(ensemble.u_bias.weight[:, number : number + 1])
        alone.i_bias.weight.copy_(ensemble.i_bias.weight[:, number : number + 1])
    return alone


def test_an_ensemble_predicts_the_mean_of_its_members() -> None:
    ensemble = filled(CollabEnsemble(4, 5, n_factors=3, n_members=4))
    each = [member(ensemble, number, 3)(USERS, ITEMS) for number in range(4)]
    torch.testing.assert_close(ensemble.member_predictions(USERS, ITEMS), torch.stack(each, dim=1))
    torch.testing.assert_close(ensemble(USERS, ITEMS), torch.stack(each).mean(dim=0))


def test_members_are_trained_as_if_alone(tmp_path: Path) -> None:
    """A whole fit: Adam, decoupled decay and one-cycle treat each parameter by itself."""
    from lab.build import build_data, build_model
    from tests.config.test_check import checked

    recipe = [*TINY, "model._target_=lab.models.collab.CollabEnsemble", "model.n_members=3"]
    launch(recipe, tmp_path / "run")
    config = checked(recipe)
    data = build_data(config)
    start = build_model(config, data)
    trained = CollabEnsemble(**data.sizes, n_factors=4, n_members=3)
    trained.load_state_dict(
        {k: v for k, v in weights(tmp_path / "run").items() if k in trained.state_dict()}
    )
    assert isinstance(start, CollabEnsemble)
    for number in range(3):
        alone = member(start, number, 4)
        optimizer = torch.optim.AdamW(
            alone.parameters(), lr=5e-3, betas=(0.9, 0.99), weight_decay=0.1
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=78)
        users, items, ratings = data.parts["train"]
        for epoch in range(3):
            for rows in data.train_dataloader().order(epoch).split(64):
                prediction = alone(users[rows], items[rows])
                optimizer.zero_grad()
                torch.nn.functional.mse_loss(prediction, ratings[rows]).backward()
                optimizer.step()
                if schedule.last_epoch < 77:
                    schedule.step()
        for mine, its in zip(
            alone.parameters(), member(trained, number, 4).parameters(), strict=True
        ):
            torch.testing.assert_close(mine, its, atol=2e-6, rtol=1e-4)


def test_biases_are_known_by_their_class() -> None:
    for model in (CollabFilter(4, 5), CollabEnsemble(4, 5)):
        names = {name for name, m in model.named_modules() if isinstance(m, BiasEmbedding)}
        assert names == {"u_bias", "i_bias"}


def test_while_choosing_the_test_part_stays_unread(tmp_path: Path) -> None:
    launch([*TINY, "test=false"], tmp_path / "run")
    record = RunRecord.read(tmp_path / "run")
    assert record.status == "done"
    assert "test" not in record.metrics
    assert "test" not in record.seconds
    assert record.metrics["chosen"]["val/rmse"] > 0
    launch(TINY, tmp_path / "tested")
    assert RunRecord.read(tmp_path / "tested").config_hash == record.config_hash


OF_A_TABLE = ["data=synthetic_table", "model=entity_embedding", "objective=log_regression"]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ([*TINY], None),
        ([*TINY, "model.y_range=null"], None),
        ([*TINY, "model.y_range=[1,5]"], None),
        ([*TINY, "model.y_range=[0,4.5]"], "from 0 to 4.5, but .* go from 1 to 5;"),
        ([*TINY, "model.y_range=[2,5.5]"], "from 2 to 5.5, but .* go from 1 to 5;"),
        ([*TINY, "model.y_range=[0,100]"], "from 0 to 100, but .* go from 1 to 5;"),
        ([*OF_A_TABLE, "model.y_range=[0,1]"], "from 0 to 1.71828, but"),  # e¹ - 1
    ],
)
def test_a_range_that_is_not_for_the_targets_is_said_before_training(
    overrides: list[str], said: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    from lab.build import build_data, build_model, try_out
    from tests.config.test_check import checked

    config = checked([*overrides, "logger=csv"])
    data = build_data(config)
    try_out(config, build_model(config, data), data)
    shown = capsys.readouterr().out
    assert re.search(said, shown) if said else shown == ""


def test_training_ratings_that_are_all_equal_are_refused() -> None:
    from lab.build import build_data, build_model, try_out
    from lab.errors import DataError
    from tests.config.test_check import checked

    config = checked(TINY)
    data = build_data(config)
    data.parts["train"] = (*data.parts["train"][:2], torch.full_like(data.parts["train"][2], 3.0))
    with pytest.raises(DataError, match="training targets are 3; there is nothing to learn"):
        try_out(config, build_model(config, data), data)
