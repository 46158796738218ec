"""The range test: what it does at each rung, that it leaves no trace, and what it suggests."""

import copy
import math
import random
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from ablab.config.schema import Optim
from ablab.config.schema import optimiser as schema
from ablab.data.batches import TensorLoader
from ablab.errors import ConfigError, DataError
from ablab.optim.optimizers import build_optimizer
from ablab.training.module import SupervisedModule
from ablab.training.range_test import curve as lr_finder
from ablab.training.range_test.curve import (
    LrCurve,
    find_lr,
    lr_ladder,
    suggest,
    valley,
)
from tests.ablab.optim.test_optimizers import MODES, OPTIMIZERS, config

ROWS, BATCH, STEPS = 44, 8, 30  # six batches, the last one short: five epochs
LADDER: dict[str, Any] = {"first": 1e-5, "last": 1.0, "steps": STEPS}
MILD = {**LADDER, "last": 0.1}  # too low for any optimiser to blow up


class Net(SupervisedModule):
    """Batch norm, dropout and two groups: all that a careless search would leave changed."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2))
        self.head = nn.Linear(8, 1)

    def layer_groups(self) -> dict[str, list[nn.Module]]:  # type: ignore[override]
        return {"body": [self.body], "head": [self.head]}

    def forward(self, x: Tensor) -> Tensor:
        """x (B, 5) -> (B,)."""
        return self.head(self.body(x)).squeeze(1)


def net(optim: Optim, kind: type[SupervisedModule] = Net) -> SupervisedModule:
    model = kind()
    model.prepare_training(
        loss=nn.MSELoss(),
        metrics={},
        order_seed=3,
    )
    return model


def tensors() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(ROWS, 5, generator=generator)
    return x, 2 + x.sum(dim=1)


def loader() -> TensorLoader:
    return TensorLoader(tensors(), BATCH, seed=0)


FLAT = config("adam", "decoupled", 0.1, lr=1e-3, lr_spread=schema.FlatSpread(kind="flat", div=7))


# -- the ladder and its losses --------------------------------------------------------------------


def test_the_ladder_has_equal_ratios_and_exact_ends() -> None:
    ladder = lr_ladder(1e-7, 10.0, 100)
    assert (ladder[0], ladder[-1], len(ladder)) == (1e-7, 10.0, 100)
    ratios = [b / a for a, b in pairwise(ladder)]
    assert ratios == pytest.approx([1e8 ** (1 / 99)] * 99)


def test_groups_keep_their_ratio_at_every_rung(monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[list[float]] = []

    def spy(optimizer: torch.optim.Optimizer) -> None:
        rates.append([group["lr"] for group in optimizer.param_groups])

    monkeypatch.setattr(lr_finder, "weight_penalty", spy)
    curve = find_lr(net(FLAT), loader(), FLAT, **LADDER, divergence=1e9)
    assert curve.lrs == lr_ladder(**LADDER)  # the first rung too
    assert [head for _, head in rates] == curve.lrs
    assert [head / body for body, head in rates] == pytest.approx([7.0] * STEPS)


def test_the_smoothed_loss_is_a_mean_of_both_sides() -> None:
    curve = find_lr(net(FLAT), loader(), FLAT, **LADDER, divergence=1e9)
    deviation = STEPS / 40
    weights = [math.exp(-((i - 10) ** 2) / (2 * deviation**2)) for i in range(STEPS)]
    expected = sum(w * loss for w, loss in zip(weights, curve.losses, strict=True)) / sum(weights)
    assert curve.smoothed[10] == pytest.approx(expected, rel=1e-3)


def test_the_first_loss_is_that_of_the_untrained_model_without_penalty() -> None:
    optim = config("sgd", "l2_loss", 10.0)
    model = net(optim)
    curve = find_lr(model, loader(), optim, **LADDER)
    torch.manual_seed(3)
    *inputs, target = next(iter(loader()))
    assert curve.losses[0] == model.training_loss(inputs, target).item()


def test_it_equals_a_loop_written_by_hand() -> None:
    optim = config("momentum", "l2_loss", 1e-3)
    curve = find_lr(net(optim), loader(), optim, **MILD)
    model, batches, losses = net(optim), loader(), []
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9)
    torch.manual_seed(3)
    rates = iter(curve.lrs)
    for _ in range(STEPS // len(batches)):
        for x, y in batches:
            optimizer.param_groups[0]["lr"] = next(rates)
            loss = (model(x) - y).square().mean()
            losses.append(loss.item())
            optimizer.zero_grad()
            (loss + 1e-3 * sum(p.square().sum() for p in model.parameters())).backward()
            optimizer.step()
    assert curve.losses == pytest.approx(losses, rel=1e-4)


def test_independent_decay_shrinks_alike_at_every_rung() -> None:
    """By λ at the peak, as a run with that rate does; not by λ · rate / the configured rate."""

    class Still(SupervisedModule):
        def __init__(self) -> None:
            super().__init__()
            self.theta = nn.Parameter(torch.ones(()))

        def forward(self, x: Tensor) -> Tensor:
            return (self.theta.detach() + 0 * self.theta).expand(
                len(x)
            )  # seen, and without a gradient

    optim = config("sgd", "independent", 0.01, lr=1e-3)
    curve = find_lr(
        net(optim, Still), TensorLoader((torch.ones(8), torch.zeros(8)), 8), optim, **LADDER
    )
    assert curve.losses == pytest.approx([0.99 ** (2 * i) for i in range(STEPS)], rel=1e-5)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_every_optimiser_and_mode_runs(kind: str, mode: str) -> None:
    optim = config(kind, mode, 0.01)
    curve = find_lr(net(optim), loader(), optim, **MILD)
    assert len(curve.lrs) == STEPS
    assert min(curve.losses) < curve.losses[0]


# -- where it ends --------------------------------------------------------------------------------


def test_it_ends_where_the_mean_of_the_losses_so_far_is_over_the_bound() -> None:
    optim = config("sgd", "none", 0.0)
    ladder = {**LADDER, "last": 1e3, "steps": 200}
    curve = find_lr(net(optim), loader(), optim, **ladder, divergence=2.0, smoothing=0.5)
    assert curve.diverged
    assert len(curve.lrs) < 200
    means = []
    for i in range(len(curve.losses)):
        weights = [0.5 ** (i - j) for j in range(i + 1)]
        terms = zip(weights, curve.losses, strict=False)
        means.append(sum(w * loss for w, loss in terms) / sum(weights))
    over = [mean > 2 * min(means[: i + 1]) for i, mean in enumerate(means)]
    assert over == [False] * (len(over) - 1) + [True]


def test_a_loss_that_is_not_finite_ends_it_and_is_not_kept() -> None:
    optim = config("sgd", "none", 0.0)
    ladder = {**LADDER, "last": 1e30, "steps": 60}
    curve = find_lr(net(optim), loader(), optim, **ladder, divergence=math.inf)
    assert curve.diverged
    assert 10 < len(curve.lrs) < 60
    assert all(map(math.isfinite, [*curve.losses, *curve.smoothed]))


def test_a_negative_loss_may_go_up_and_down() -> None:
    """Four times a negative best lies below it: the bound is as far away as for a positive one."""

    class Shifted(Net):
        def training_loss(self, inputs: Sequence[Tensor], target: Tensor) -> Tensor:
            return super().training_loss(inputs, target) - 100

    curve = find_lr(net(FLAT, Shifted), loader(), FLAT, **LADDER)
    assert max(curve.losses) < 0
    assert len(curve.lrs) == STEPS


# -- no trace -------------------------------------------------------------------------------------


def train(model: SupervisedModule, batches: TensorLoader, epochs: int = 2) -> dict[str, Tensor]:
    optimizer = build_optimizer(model, FLAT)
    for _ in range(epochs):
        for x, y in batches:
            loss = model.training_loss([x], y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.state_dict()


def everything(model: SupervisedModule) -> list[Any]:
    return [
        *(t.clone() for t in model.state_dict().values()),
        *(p.grad if p.grad is None else p.grad.clone() for p in model.parameters()),
        *(torch.tensor(p.requires_grad) for p in model.parameters()),
        *(torch.tensor(m.training) for m in model.modules()),
        torch.get_rng_state(),
        torch.tensor(random.getstate()[1]),
        torch.from_numpy(np.random.get_state()[1].copy()),  # type: ignore[index,union-attr]
    ]


def equal(a: Sequence[Any], b: Sequence[Any]) -> bool:
    return all(x is y or torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("batches_before", [0, 2, 6])
@pytest.mark.parametrize("ends", ["at the top", "by an exception"])
def test_it_leaves_everything_bitwise_and_training_goes_on_as_if_untouched(
    batches_before: int, ends: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, batches = net(FLAT), loader()
    for _, (x, y) in zip(range(batches_before), batches, strict=False):
        model.training_loss([x], y).backward()  # gradients, moved statistics, a place in the epoch
    model.body[0].requires_grad_(False)
    model.body[1].eval()
    twin, twins_batches = copy.deepcopy(model), copy.copy(batches)
    torch.manual_seed(7)
    before = everything(model)
    if ends == "at the top":
        find_lr(model, batches, FLAT, **LADDER)
    else:
        calls = iter(range(9))
        monkeypatch.setattr(lr_finder, "weight_penalty", lambda optimizer: [None][next(calls) // 8])
        with pytest.raises(IndexError):
            find_lr(model, batches, FLAT, **LADDER)
    assert equal(before, everything(model))
    torch.manual_seed(8)
    theirs = train(twin, twins_batches)
    torch.manual_seed(8)
    mine = train(model, batches)
    assert equal(list(theirs.values()), list(mine.values()))


@pytest.mark.parametrize("own_generator", [True, False])
def test_torchs_loader_shuffles_as_if_untouched(own_generator: bool) -> None:
    def shuffled() -> DataLoader[Any]:
        generator = torch.Generator().manual_seed(5) if own_generator else None
        return DataLoader(TensorDataset(*tensors()), BATCH, shuffle=True, generator=generator)

    torch.manual_seed(7)
    expected = list(shuffled())
    torch.manual_seed(7)
    batches = shuffled()
    find_lr(net_keeping_the_generator(), batches, FLAT, **LADDER)
    found = list(batches)
    assert all(equal(a, b) for a, b in zip(expected, found, strict=True))


def net_keeping_the_generator() -> SupervisedModule:
    with torch.random.fork_rng(devices=[]):
        return net(FLAT)


def test_the_curve_is_a_function_of_model_data_and_seed_alone() -> None:
    curves = []
    for seed in (1, 2):
        model = net(FLAT)
        torch.manual_seed(seed)
        curves.append(find_lr(model, loader(), FLAT, **LADDER))
    assert curves[0] == curves[1]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_model_stays_on_the_cpu_and_cuda_generators_are_put_back() -> None:
    model = net(FLAT)
    before = everything(model)
    torch.cuda.manual_seed(9)
    state = torch.cuda.get_rng_state()
    curve = find_lr(model, loader(), FLAT, **LADDER, device="cuda")
    assert equal(before, everything(model))
    assert torch.equal(state, torch.cuda.get_rng_state())
    assert curve == find_lr(model, loader(), FLAT, **LADDER, device="cuda")


# -- what cannot be tested ------------------------------------------------------------------------


def test_a_frozen_model_an_empty_loader_and_a_bad_loss_are_told() -> None:
    with pytest.raises(ConfigError, match="frozen"):
        find_lr(net(FLAT).requires_grad_(False), loader(), FLAT, **LADDER)
    with pytest.raises(DataError, match="no training batch"):
        find_lr(net(FLAT), [], FLAT, **LADDER)
    x, y = tensors()
    with pytest.raises(DataError, match="before the first step"):
        find_lr(net(FLAT), [(x, y * math.nan)], FLAT, **LADDER)


# -- suggestions on curves in closed form ---------------------------------------------------------

LRS = lr_ladder(1e-7, 10.0, 161)  # twenty rungs a decade
U = np.log10(LRS)
# down along a sigmoid with its inflection at 1e-3, up along a steep exponential
DESCENT = [float(2 - 1.5 / (1 + np.exp(-(u + 3) / 0.25)) + 10 ** (4 * (u + 0.5))) for u in U]


def test_valley_is_half_way_down() -> None:
    found = valley(LRS, DESCENT)
    assert found is not None
    bottom = LRS[DESCENT.index(min(DESCENT))]
    assert 1e-5 < found < bottom
    # flat for 40 points, down for 60 of them (39 to 99), then up
    corner = [5.0] * 40 + [5 - 0.05 * i for i in range(1, 61)] + [2 + 0.1 * i for i in range(1, 62)]
    assert valley(LRS, corner) == LRS[99 - 61 + 61 // 3 + 61 // 6]


def test_valley_passes_over_noise() -> None:
    noise = np.random.default_rng(0).normal(0, 0.02, len(DESCENT))
    found = valley(LRS, list(DESCENT + noise))
    assert found is not None
    assert 1e-5 < found < 1e-1


@pytest.mark.parametrize(
    "losses", [[], [1.0], [2.0, 1.0], [1.0] * 20, [1.0 + i for i in range(20)]]
)
def test_no_suggestion_where_nothing_falls(losses: list[float]) -> None:
    assert valley(LRS[: len(losses)], losses) is None


def test_suggestions_leave_out_both_ends() -> None:
    losses = [0.0] * 16 + DESCENT[16:-5] + [-1.0] * 5
    curve = LrCurve(LRS, losses, losses, steps=161, diverged=False, base_lr=1e-3)
    assert suggest(curve) == valley(LRS[16:-5], DESCENT[16:-5])
    short = LrCurve(LRS[:18], losses[:18], losses[:18], steps=161, diverged=True, base_lr=1e-3)
    assert suggest(short) is None
