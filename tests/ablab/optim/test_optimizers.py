"""What the modes of weight decay promise, for every optimiser (optimisation property tests)."""

import copy
import io
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ablab.config.schema import optimiser as schema
from ablab.config.schema.optimiser import Optim, WeightDecay
from ablab.errors import CheckpointError
from ablab.optim.decay import weight_penalty
from ablab.optim.optimizers import build_optimizer, describe_groups
from tests.ablab.optim.reference import Reference

MODES = ["none", "l2_loss", "l2", "decoupled", "independent", "corrected", "cautious"]
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"name": "sgd"},
    "momentum": {"name": "sgd", "momentum": 0.9},
    "nesterov": {"name": "sgd", "momentum": 0.9, "nesterov": True},
    "rmsprop": {"name": "rmsprop"},
    "rmsprop_momentum": {"name": "rmsprop", "momentum": 0.9},
    "adam": {"name": "adam", "betas": (0.9, 0.99)},
    "fused_adam": {"name": "adam", "betas": (0.9, 0.99), "fused": True},
}
CLASSES = {"sgd": schema.SGD, "rmsprop": schema.RMSprop, "adam": schema.Adam}


def config(kind: str, mode: str, value: float, lr: float = 0.05, **more: Any) -> Optim:
    options = {**OPTIMIZERS[kind], "lr": lr, "weight_decay": WeightDecay(mode=mode, value=value)}
    return CLASSES[options["name"]](**{**options, **more})


class Vector(nn.Module):
    """One weight vector whose data gradient a test states."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.theta = nn.Parameter(start.clone())


def descend(
    optim: Optim,
    start: Tensor,
    gradients: list[Tensor],
    lrs: list[float],
    clip: float | None = None,
) -> Tensor:
    """Weights after steps whose data loss is ``gradient · θ``."""
    model = Vector(start)
    optimizer = build_optimizer(model, optim)
    for gradient, lr in zip(gradients, lrs, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = lr

        def closure(gradient: Tensor = gradient) -> Tensor:
            optimizer.zero_grad()
            loss = (gradient * model.theta).sum()
            penalty = weight_penalty(optimizer)
            loss = loss if penalty is None else loss + penalty
            loss.backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            return loss

        optimizer.step(closure)
    return model.theta.detach()


def problem(steps: int = 12, size: int = 7) -> tuple[Tensor, list[Tensor], list[float]]:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(size, generator=generator, dtype=torch.float64)
    gradients = [torch.randn(size, generator=generator, dtype=torch.float64) for _ in range(steps)]
    return start, gradients, [0.05 * (1 + math.cos(math.pi * s / steps)) / 2 for s in range(steps)]


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_equals_the_written_out_rules(kind: str) -> None:
    start, gradients, lrs = problem()
    options = OPTIMIZERS[kind]
    own = {k: v for k, v in options.items() if k not in ("name", "fused")}
    for mode in MODES:
        reference = Reference(start, options["name"], mode, 0.1, base_lr=0.05, **own)
        for gradient, lr in zip(gradients, lrs, strict=True):
            reference.step(gradient, lr)
        found = descend(config(kind, mode, 0.1), start, gradients, lrs)
        torch.testing.assert_close(found, reference.theta, rtol=0, atol=1e-13, msg=mode)


def test_only_fused_adam_is_fused() -> None:
    for kind, fused in (("adam", None), ("fused_adam", True)):
        optimizer = build_optimizer(Vector(torch.zeros(2)), config(kind, "none", 0.0))
        assert optimizer.defaults["fused"] is fused


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_without_decay_all_modes_are_bitwise_equal(kind: str) -> None:
    start, gradients, lrs = problem()
    results = [descend(config(kind, mode, 0.0), start, gradients, lrs) for mode in MODES]
    assert all(torch.equal(results[0], other) for other in results[1:])


def test_for_plain_sgd_l2_is_decoupled() -> None:
    start, gradients, lrs = problem()
    l2, decoupled = (
        descend(config("sgd", m, 0.1), start, gradients, lrs) for m in ("l2", "decoupled")
    )
    torch.testing.assert_close(l2, decoupled, rtol=0, atol=1e-14)


@pytest.mark.parametrize("kind", [k for k in OPTIMIZERS if k != "sgd"])
def test_for_all_others_l2_is_not_decoupled(kind: str) -> None:
    start, gradients, lrs = problem()
    l2, decoupled = (
        descend(config(kind, m, 0.1), start, gradients, lrs) for m in ("l2", "decoupled")
    )
    assert (l2 - decoupled).abs().max() > 1e-3


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_l2_loss_is_l2_of_twice_the_value_unless_clipped(kind: str) -> None:
    start, gradients, lrs = problem()
    penalty, twice = config(kind, "l2_loss", 0.3), config(kind, "l2", 0.6)
    torch.testing.assert_close(
        descend(penalty, start, gradients, lrs),
        descend(twice, start, gradients, lrs),
        rtol=0,
        atol=1e-12,
    )
    clipped = [descend(c, start, gradients, lrs, clip=0.1) for c in (penalty, twice)]
    assert (clipped[0] - clipped[1]).abs().max() > 1e-3


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_independent_is_decoupled_over_the_base_rate(kind: str) -> None:
    start, gradients, lrs = problem()
    independent = descend(config(kind, "independent", 1e-3), start, gradients, lrs)
    decoupled = descend(config(kind, "decoupled", 1e-3 / 0.05), start, gradients, lrs)
    torch.testing.assert_close(independent, decoupled, rtol=0, atol=1e-15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("foreach", [False, True])
def test_decoupled_adam_is_adamw_bitwise(dtype: torch.dtype, foreach: bool) -> None:
    start, gradients, lrs = problem()
    start, gradients = start.to(dtype), [g.to(dtype) for g in gradients]
    ours, theirs = Vector(start), Vector(start)
    mine = build_optimizer(ours, config("adam", "decoupled", 0.1))
    adamw = torch.optim.AdamW(
        theirs.parameters(), lr=0.05, betas=(0.9, 0.99), weight_decay=0.1, foreach=foreach
    )
    for group in mine.param_groups:
        group["foreach"] = foreach
    for gradient, lr in zip(gradients, lrs, strict=True):
        for model, optimizer in ((ours, mine), (theirs, adamw)):
            model.theta.grad = gradient.clone()
            optimizer.param_groups[0]["lr"] = lr
            optimizer.step()
    assert torch.equal(ours.theta, theirs.theta)


def test_closed_forms_without_data_gradient() -> None:
    """From the second step on the data are silent; e = ηλ, θ₀ the weight before the first step."""
    start = torch.tensor([1.5, -0.7], dtype=torch.float64)
    silence = [torch.zeros(2, dtype=torch.float64)] * 2
    eta, lam, mu = 0.1, 0.2, 0.9
    e = eta * lam

    def after(kind: str, mode: str, steps: int = 2) -> Tensor:
        return descend(config(kind, mode, lam, lr=eta), start, silence[:steps], [eta] * steps)

    def close(found: Tensor, expected: Tensor) -> None:
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)

    close(after("momentum", "l2"), start * ((1 - e) ** 2 - mu * e))
    close(after("momentum", "decoupled"), start * (1 - e) ** 2)
    close(after("nesterov", "l2", 1), start * (1 - (1 + mu) * e))
    close(after("nesterov", "decoupled", 1), start * (1 - e))
    # what preconditioning does to L2: the size of the step has nothing to do with λ
    first_adam = start - eta * torch.sign(start)
    first_rmsprop = start - eta * torch.sign(start) / math.sqrt(1 - 0.99)
    torch.testing.assert_close(after("adam", "l2", 1), first_adam, rtol=0, atol=1e-7)
    torch.testing.assert_close(after("rmsprop", "l2", 1), first_rmsprop, rtol=0, atol=1e-5)
    close(after("adam", "decoupled", 1), start * (1 - e))


def test_scaling_the_loss_leaves_decoupled_adam_alone_but_not_l2() -> None:
    """With ε = 0 Adam's step does not see the loss's scale; 1024 is exact in binary."""
    start, gradients, lrs = problem()
    scaled = [g * 1024 for g in gradients]
    for mode, same in (("decoupled", True), ("l2", False)):
        optim = config("adam", mode, 0.1, eps=1e-300)
        one, other = (descend(optim, start, gs, lrs) for gs in (gradients, scaled))
        assert torch.equal(one, other) == same


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_what_has_no_gradient_stays_as_it_is(kind: str) -> None:
    for mode in MODES:
        assert_stays(kind, mode)


def assert_stays(kind: str, mode: str) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].requires_grad_(False)
    frozen = copy.deepcopy(model[0].state_dict())
    moving = copy.deepcopy(model[1].state_dict())
    optimizer = build_optimizer(model, config(kind, mode, 0.1))
    for _ in range(3):
        optimizer.zero_grad()
        loss = model(torch.ones(1, 2)).square().sum()
        penalty = weight_penalty(optimizer)
        (loss if penalty is None else loss + penalty).backward()
        optimizer.step()
    assert all(torch.equal(v, frozen[k]) for k, v in model[0].state_dict().items()), mode
    assert any(not torch.equal(v, moving[k]) for k, v in model[1].state_dict().items()), mode


def test_rows_of_an_embedding_that_no_batch_meets() -> None:
    """Adam + L2 erases them at a pace set by lr alone; decoupled decay by the decay (trap 7)."""
    shrunk = {}
    for mode in ("l2", "decoupled"):
        torch.manual_seed(0)
        model = nn.Embedding(2, 1, dtype=torch.float64)
        nn.init.ones_(model.weight)
        optimizer = build_optimizer(model, config("adam", mode, 1e-4, lr=5e-3))
        for _ in range(100):
            optimizer.zero_grad()
            model(torch.tensor([0])).sum().backward()
            optimizer.step()
        shrunk[mode] = float(model.weight[1, 0].detach())
    assert shrunk["l2"] < 0.6
    assert shrunk["decoupled"] == pytest.approx((1 - 5e-3 * 1e-4) ** 100, abs=1e-12)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_loaded_state_goes_on_bitwise(kind: str) -> None:
    for mode in MODES:
        assert_goes_on(kind, mode)


def assert_goes_on(kind: str, mode: str) -> None:
    start, gradients, _ = problem(12)

    def steps(model: Vector, optimizer: torch.optim.Optimizer, part: list[Tensor]) -> None:
        for gradient in part:
            model.theta.grad = gradient.clone()
            optimizer.step()

    optim = config(kind, mode, 0.1)
    whole = Vector(start)
    steps(whole, build_optimizer(whole, optim), gradients)
    first = Vector(start)
    optimizer = build_optimizer(first, optim)
    steps(first, optimizer, gradients[:5])
    buffer = io.BytesIO()
    torch.save({"model": first.state_dict(), "optimizer": optimizer.state_dict()}, buffer)
    buffer.seek(0)
    saved = torch.load(buffer, weights_only=True)
    second = Vector(torch.zeros_like(start))
    second.load_state_dict(saved["model"])
    optimizer = build_optimizer(second, optim)
    optimizer.load_state_dict(saved["optimizer"])
    steps(second, optimizer, gradients[5:])
    assert torch.equal(whole.theta, second.theta), mode


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (config("adam", "l2", 0.1), "decay_mode"),
        (config("adam", "decoupled", 0.2), "decay_value"),
        (config("adam", "decoupled", 0.1, lr=0.1), "base_lr"),
    ],
)
def test_a_state_of_another_meaning_is_refused(changed: Optim, told: str) -> None:
    state = build_optimizer(Vector(torch.ones(2)), config("adam", "decoupled", 0.1)).state_dict()
    with pytest.raises(CheckpointError, match=told):
        build_optimizer(Vector(torch.ones(2)), changed).load_state_dict(state)


def test_a_state_of_other_parameters_is_refused() -> None:
    optim = config("adam", "decoupled", 0.1)
    state = build_optimizer(nn.Linear(2, 2), optim).state_dict()
    with pytest.raises(CheckpointError, match="param_names"):
        build_optimizer(nn.Linear(2, 2, bias=False), optim).load_state_dict(state)


def test_groups_are_described_as_they_are() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    optim = schema.Adam(
        name="adam",
        lr=0.1,
        weight_decay=WeightDecay(mode="decoupled", value=0.2, skip=("bias", "norm")),
    )
    model[1].requires_grad_(False)
    rows = describe_groups(build_optimizer(model, optim))
    assert [(r.name, r.parameters, r.tensors, r.weight_decay, r.frozen) for r in rows] == [
        ("all/decay", 12, 1, 0.2, 0),
        ("all/no_decay", 12, 3, 0.0, 2),
    ]


def test_accumulated_penalty_is_one_penalty() -> None:
    """Lightning divides each of k losses by k, penalty included: together they are one penalty."""
    start, gradients, _ = problem(4)
    optim = config("sgd", "l2_loss", 0.3)
    model = Vector(start)
    optimizer = build_optimizer(model, optim)
    for gradient in gradients:
        penalty = weight_penalty(optimizer)
        assert penalty is not None
        (((gradient * model.theta).sum() + penalty) / len(gradients)).backward()
    optimizer.step()
    mean = torch.stack(gradients).mean(0)
    torch.testing.assert_close(
        model.theta.detach(), start - 0.05 * (mean + 0.6 * start), rtol=0, atol=1e-14
    )
