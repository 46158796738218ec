"""Sparse steps with decay kept beside the rows, against the dense steps they stand for."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import ablab
from ablab.config.schema import SGD, OneCycle, Optim, RowwiseAdagrad, WeightDecay
from ablab.errors import ConfigError
from ablab.optim.optimizers import build_optimizer
from ablab.optim.schedules import lr
from ablab.optim.sparse.lazy_decay import LazilyDecayedEmbedding
from ablab.runs.checkpoints import Manifest, load_checkpoint
from ablab.safety.signals import RunInterrupted
from lesson5.ratings.collab_filter import CollabFilter
from tests.ablab.config.test_check import BASE, checked
from tests.ablab.training.test_run import same, weights
from tests.launch import TINY, launch

TABLES = ("u_weight", "i_weight", "u_bias", "i_bias")
USERS, ITEMS, STEPS = 30, 20, 100
UNREAD_USERS = slice(25, None)


def optim(kind: str, mode: str = "decoupled", value: float = 0.1, **more: Any) -> Optim:
    decay = WeightDecay(mode=mode, value=value, **more)  # type: ignore[arg-type]
    if kind == "sgd":
        return SGD(name="sgd", lr=0.3, weight_decay=decay)
    return RowwiseAdagrad(name="rowwise_adagrad", lr=0.1, weight_decay=decay)


def model(*, sparse: bool, dtype: torch.dtype = torch.float64) -> CollabFilter:
    torch.manual_seed(3)
    made = CollabFilter(USERS, ITEMS, n_factors=4, sparse=sparse)
    for parameter in made.parameters():
        parameter.data = torch.randn_like(parameter).to(dtype)
    return made.train()


def rates(optim: Optim) -> list[float]:
    return [lr(OneCycle(name="one_cycle"), step, STEPS, optim.lr) for step in range(STEPS)]


def learn(model: CollabFilter, optim: Optim, steps: range = range(STEPS)) -> None:
    """Users are read rarely, some never, and one of them twice in a batch."""
    optimizer = build_optimizer(model, optim)
    for step in steps:
        draw = torch.Generator().manual_seed(step)
        users = torch.randint(1, UNREAD_USERS.start, (4,), generator=draw)
        users = torch.cat([users, users[:1]])
        items = torch.randint(1, ITEMS, (5,), generator=draw)
        ratings = torch.randint(1, 6, (5,), generator=draw).double()
        for group in optimizer.param_groups:
            group["lr"] = rates(optim)[step]
        optimizer.zero_grad()
        (model(users, items) - ratings).square().mean().backward()
        optimizer.step()


def assert_same_tables(one: CollabFilter, other: CollabFilter, rtol: float) -> None:
    for name in TABLES:
        ours, theirs = (getattr(m.eval(), name).weight.detach().double() for m in (one, other))
        torch.testing.assert_close(ours, theirs, rtol=rtol, atol=rtol * float(theirs.abs().max()))


@pytest.mark.parametrize("skip", [(), ("embedding_bias",)], ids=["all", "spared"])
@pytest.mark.parametrize("mode", ["decoupled", "independent"])
@pytest.mark.parametrize("kind", ["sgd", "rowwise_adagrad"])
def test_a_sparse_run_is_the_dense_run(kind: str, mode: str, skip: tuple[str, ...]) -> None:
    recipe = optim(kind, mode, skip=skip)
    dense, sparse, single = (
        model(sparse=False),
        model(sparse=True),
        model(sparse=True, dtype=torch.float32),
    )
    for each in (dense, sparse, single):
        learn(each, recipe)
    assert_same_tables(sparse, dense, 1e-12)
    assert_same_tables(single, dense, 2e-5)  # of fp32, which dense steps lose as well


def test_a_row_that_is_never_read_decays_by_the_product_of_all_steps() -> None:
    recipe = optim("rowwise_adagrad", value=2.0)
    sparse = model(sparse=True, dtype=torch.float32)
    before = sparse.u_weight.weight[UNREAD_USERS].detach().clone()
    learn(sparse, recipe)
    expected = torch.tensor(1.0, dtype=torch.float64)
    for rate in rates(recipe):
        expected *= 1 - rate * 2.0
    assert expected < 1e-4
    found = sparse.eval().u_weight.weight[UNREAD_USERS]
    torch.testing.assert_close(found, before * expected, rtol=2e-7, atol=0, check_dtype=False)


def test_decay_far_beyond_what_a_scale_can_hold() -> None:
    recipe = optim("sgd", "independent", value=0.9)  # by a factor of 5e-37
    dense, sparse = model(sparse=False), model(sparse=True)
    learn(dense, recipe)
    learn(sparse, recipe)
    assert_same_tables(sparse, dense, 1e-12)
    assert all(torch.isfinite(getattr(sparse, name).weight).all() for name in TABLES)


def test_what_is_frozen_does_not_decay() -> None:
    frozen = model(sparse=True)
    frozen.u_weight.weight.requires_grad_(False)
    before = frozen.u_weight.weight.clone()
    learn(frozen, optim("sgd"))
    assert torch.equal(frozen.eval().u_weight.weight, before)
    assert not torch.equal(frozen.i_weight.weight, model(sparse=True).i_weight.weight)


def test_looking_at_it_in_between_changes_nothing_but_the_rounding() -> None:
    looked_at, left_alone = model(sparse=True), model(sparse=True)
    recipe = optim("sgd")
    for first in range(0, STEPS, 25):
        learn(looked_at, recipe, range(first, first + 25))
        looked_at.eval()
        looked_at.train()
    learn(left_alone, recipe)
    assert_same_tables(looked_at, left_alone, 1e-12)


def test_a_row_is_read_as_it_is_decayed() -> None:
    table = LazilyDecayedEmbedding(5, 3)
    before = table.weight.detach().clone()
    table.decay(0.25)
    assert torch.equal(table.weight, before)  # not touched
    torch.testing.assert_close(table(torch.tensor([4, 1])), before[[4, 1]] * 0.75)
    assert torch.equal(table.eval().weight, before * 0.75)


def test_the_gradient_is_that_of_the_decayed_rows() -> None:
    table = LazilyDecayedEmbedding(5, 3)
    table.decay(0.25)
    table(torch.tensor([4, 1, 4])).sum().backward()
    grad = table.weight.grad
    assert grad is not None
    assert grad.is_sparse
    assert grad.to_dense()[:, 0].tolist() == [0, 1, 0, 0, 2]


# -- row-wise AdaGrad ------------------------------------------------------------------------------


def test_rowwise_adagrad_is_its_formula() -> None:
    layer = nn.Linear(3, 2).double()
    start = {name: p.detach().clone() for name, p in layer.named_parameters()}
    recipe = RowwiseAdagrad(
        name="rowwise_adagrad", lr=0.1, eps=1e-3, weight_decay=WeightDecay(mode="none")
    )
    optimizer = build_optimizer(layer, recipe)
    total = {"weight": torch.zeros(2, 1).double(), "bias": torch.zeros(2).double()}
    for step in range(3):
        torch.manual_seed(step)
        for name, parameter in layer.named_parameters():
            g = torch.randn_like(parameter)
            parameter.grad = g.clone()
            total[name] += g.square().mean(dim=1, keepdim=True) if g.dim() > 1 else g.square()
            start[name] -= 0.1 * g / (total[name].sqrt() + 1e-3)
        optimizer.step()
    for name, parameter in layer.named_parameters():
        torch.testing.assert_close(parameter.detach(), start[name], rtol=1e-12, atol=1e-12)


def test_of_single_columns_it_is_adagrad() -> None:
    """torch's own, of dense gradients."""
    one, other = nn.Embedding(6, 1, sparse=True), nn.Embedding(6, 1)
    other.load_state_dict(one.state_dict())
    recipe = RowwiseAdagrad(name="rowwise_adagrad", lr=0.1, weight_decay=WeightDecay(mode="none"))
    ours = build_optimizer(one, recipe)
    theirs = torch.optim.Adagrad(other.parameters(), 0.1, eps=1e-8)
    for rows in ([1, 2, 2], [2, 5, 1], [5, 5, 5]):
        for table, optimizer in ((one, ours), (other, theirs)):
            optimizer.zero_grad()
            table(torch.tensor(rows)).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(one.weight, other.weight)


# -- in runs ---------------------------------------------------------------------------------------

SPARSE = [
    *TINY,
    "model.sparse=true",
    "optim=rowwise_adagrad",
    "optim.weight_decay.value=0.5",
    "trainer.max_epochs=2",
]


def test_an_interrupted_run_continues_bitwise_and_is_loaded_decayed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ABLAB_ALLOWED_TARGETS", "tests")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    launch(SPARSE, whole)
    stop = ["callbacks.stop._target_=tests.callbacks.SignalAt", "callbacks.stop.step=15"]
    with pytest.raises(RunInterrupted):
        launch([*SPARSE, *stop], parts)
    (entry,) = Manifest(parts / "checkpoints").entries()
    stored = load_checkpoint(parts / "checkpoints" / entry.file)["state_dict"]
    assert stored["u_weight.scale"] < 1  # written as it was in the middle of an epoch
    loaded, _ = ablab.load(parts)
    expected = stored["u_weight.weight"] * stored["u_weight.scale"]
    assert torch.equal(loaded.u_weight.weight, expected)  # type: ignore[union-attr]
    launch(["task=fit", f"run={parts}"], parts)
    assert same(weights(whole), weights(parts))


def test_several_steps_an_execution_with_clipping_are_single_steps(tmp_path: Path) -> None:
    clipped = [*SPARSE, "trainer.gradient_clip_val=0.1"]
    launch(clipped, tmp_path / "one")
    launch([*clipped, "steps_per_execution=7"], tmp_path / "several")
    assert same(weights(tmp_path / "one"), weights(tmp_path / "several"))
    launch([*clipped, "model.sparse=false"], tmp_path / "dense")
    dense = weights(tmp_path / "dense")
    found = weights(tmp_path / "one")
    for name, value in dense.items():
        scale = found[f"{name.removesuffix('.weight')}.scale"]
        torch.testing.assert_close(
            found[name] * scale, value, rtol=1e-4, atol=1e-6, check_dtype=False
        )


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["optim=adam"], "optim.name: 'adam' moves every row"),
        (["optim=rmsprop"], "optim.name: 'rmsprop' moves every row"),
        (["optim=nesterov"], "optim.momentum: moves every row"),
        (
            ["optim=sgd", "trainer.devices=2"],
            "trainer.devices: sparse gradients are for one process",
        ),
        (["optim=sgd", "optim.weight_decay={mode: l2, value: 0.1}"], "'l2' gives every row"),
        (["optim=sgd", "optim.weight_decay={mode: l2_loss, value: 0.1}"], "'l2_loss' gives every"),
    ],
)
def test_what_would_touch_every_row_is_refused(overrides: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        checked([*BASE, "~data.split", "data=synthetic_ratings", "model.sparse=true", *overrides])


def test_what_is_built_without_a_config_is_refused_too() -> None:
    own = nn.Sequential(nn.Embedding(4, 2, sparse=True))
    momentum = SGD(name="sgd", lr=0.1, momentum=0.9, weight_decay=WeightDecay(mode="none"))
    with pytest.raises(ConfigError, match=r"optim\.momentum"):
        build_optimizer(own, momentum)
    with pytest.raises(ConfigError, match=r"would take 1\.5 of each weight"):
        build_optimizer(model(sparse=True), optim("sgd", "independent", value=1.5))


def test_several_processes_are_refused() -> None:
    sparse = model(sparse=True)
    sparse._trainer = type("Trainer", (), {"world_size": 2})()  # type: ignore[assignment]
    with pytest.raises(ConfigError, match=r"trainer\.devices=1"):
        sparse.configure_optimizers()
