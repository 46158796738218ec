"""Every optimiser of torch that takes dense gradients, crossed with every mode of weight decay."""

import copy
import inspect
import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ablab.config.schema.optimiser import AnyOptimizer, WeightDecay
from ablab.config.schema.schedule import OneCycle
from ablab.errors import ConfigError
from ablab.optim.optimizers import build_optimizer
from ablab.optim.scheduler import build_scheduler

MODES = ["none", "l2", "decoupled", "independent", "corrected", "cautious"]
DECOUPLED = {"AdamW", "Adafactor", "Muon"}  # of their own; the others' weight_decay is l2
OWN_DECAY = {"ASGD": {"lambd": 0.0}}  # a decay besides weight_decay, which is not ours
PEAK, VALUE = 0.01, 0.3
RATES = [PEAK, 0.5 * PEAK, 0.25 * PEAK]


class Matrix(nn.Module):
    """A weight matrix, since Muon takes nothing else, and one that is frozen."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(0)
        self.theta = nn.Parameter(torch.randn(4, 3, generator=random, dtype=dtype))
        self.frozen = nn.Parameter(torch.ones(2, 2, dtype=dtype), requires_grad=False)


def gradients(dtype: torch.dtype = torch.float64) -> list[Tensor]:
    random = torch.Generator().manual_seed(1)
    return [torch.randn(4, 3, generator=random, dtype=dtype) for _ in RATES]


def dense() -> list[type[torch.optim.Optimizer]]:
    """Return the classes of torch.optim that take a step of a dense gradient."""
    found = []
    for name in dir(torch.optim):
        cls = getattr(torch.optim, name)
        if not (isinstance(cls, type) and issubclass(cls, torch.optim.Optimizer)):
            continue
        try:
            parameter = nn.Parameter(torch.ones(2, 2))
            parameter.grad = torch.ones(2, 2)
            cls([parameter]).step()
        except (TypeError, RuntimeError, NotImplementedError):
            continue
        found.append(cls)
    return found


DENSE = dense()
each_class = pytest.mark.parametrize("cls", DENSE, ids=lambda cls: cls.__name__)


def settings(cls: type, mode: str, value: float = VALUE, **arguments: Any) -> AnyOptimizer:
    return AnyOptimizer(
        _target_=f"torch.optim.{cls.__name__}",
        lr=PEAK,
        weight_decay=WeightDecay(mode=mode, value=value),  # type: ignore[arg-type]
        **{**OWN_DECAY.get(cls.__name__, {}), **arguments},
    )


def ours(cls: type, mode: str, **options: Any) -> tuple[Matrix, torch.optim.Optimizer]:
    model = Matrix()
    return model, build_optimizer(model, settings(cls, mode, **options))


def plain(cls: Any, weight_decay: float = 0.0) -> tuple[Matrix, torch.optim.Optimizer]:
    model = Matrix()
    takes = "weight_decay" in inspect.signature(cls).parameters
    decay = {"weight_decay": weight_decay} if takes else {}
    return model, cls([model.theta], lr=PEAK, **decay, **OWN_DECAY.get(cls.__name__, {}))


def step(model: Matrix, optimizer: torch.optim.Optimizer, gradient: Tensor, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
    model.theta.grad = gradient.clone()
    optimizer.step()


def test_no_class_is_left_out_but_those_of_closures_and_sparse_gradients() -> None:
    everything = {
        name
        for name in dir(torch.optim)
        if isinstance(getattr(torch.optim, name), type)
        and issubclass(getattr(torch.optim, name), torch.optim.Optimizer)
    }
    names = {cls.__name__ for cls in DENSE}
    assert everything - names == {"Optimizer", "LBFGS", "SparseAdam"}


@each_class
def test_a_mode_is_its_formula_around_the_classs_own_step(cls: type) -> None:
    for mode in MODES:
        assert_formula(cls, mode)


def assert_formula(cls: type, mode: str) -> None:
    model, optimizer = ours(cls, mode)
    reference, inner = plain(cls)
    for gradient, rate in zip(gradients(), RATES, strict=True):
        step(model, optimizer, gradient, rate)
        theta = reference.theta.detach().clone()
        shrink = {
            "decoupled": rate * VALUE,
            "independent": rate / PEAK * VALUE,
            "corrected": rate * rate / PEAK * VALUE,
        }.get(mode, 0.0)
        with torch.no_grad():
            reference.theta.mul_(1 - shrink)
        if mode == "l2":
            gradient = torch.add(gradient, theta, alpha=VALUE)
        step(reference, inner, gradient, rate)
        if mode == "cautious":
            with torch.no_grad():
                update = theta - reference.theta
                reference.theta.sub_(theta * (update * theta >= 0), alpha=rate * VALUE)
        assert torch.equal(model.theta, reference.theta), mode
        assert torch.equal(model.frozen, torch.ones(2, 2)), mode
        model.theta.grad = None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@each_class
def test_l2_is_torchs_weight_decay_bitwise(cls: type, dtype: torch.dtype) -> None:
    if cls.__name__ in DECOUPLED or "weight_decay" not in inspect.signature(cls).parameters:
        pytest.skip("it has no l2 of its own")
    model, optimizer = ours(cls, "l2")
    reference, inner = plain(cls, VALUE)
    for each in (model, reference):
        each.to(dtype)
    for gradient, rate in zip(gradients(dtype), RATES, strict=True):
        step(model, optimizer, gradient, rate)
        step(reference, inner, gradient, rate)
        assert model.theta.grad is not None
        assert torch.equal(model.theta.grad, gradient)  # a step leaves gradients as they are
    assert torch.equal(model.theta, reference.theta)


@pytest.mark.parametrize("name", sorted(DECOUPLED - {"Adafactor"}))  # that one scales its rate
def test_decoupled_is_that_of_classes_that_decouple(name: str) -> None:
    cls = getattr(torch.optim, name)
    model, optimizer = ours(cls, "decoupled")
    reference, inner = plain(cls, VALUE)
    for gradient, rate in zip(gradients(), RATES, strict=True):
        step(model, optimizer, gradient, rate)
        step(reference, inner, gradient, rate)
    assert torch.equal(model.theta, reference.theta)


@pytest.mark.parametrize("cls", [torch.optim.SGD, torch.optim.Adam], ids=lambda cls: cls.__name__)
def test_l2_pulls_towards_zero_where_the_loss_is_maximised(cls: type) -> None:
    model, optimizer = ours(cls, "l2", maximize=True)
    reference, inner = plain(cls, VALUE)
    for gradient, rate in zip(gradients(), RATES, strict=True):
        step(model, optimizer, -gradient, rate)
        step(reference, inner, gradient, rate)
    assert torch.equal(model.theta, reference.theta)


@each_class
def test_a_state_loads_with_weights_only_and_goes_on_bitwise(cls: type) -> None:
    for mode in MODES:
        assert_goes_on(cls, mode)


def assert_goes_on(cls: type, mode: str) -> None:
    whole, first = ours(cls, mode), ours(cls, mode)
    steps = list(zip(gradients(), RATES, strict=True))
    for gradient, rate in steps:
        step(*whole, gradient, rate)
    step(*first, *steps[0])
    buffer = io.BytesIO()
    torch.save((first[0].state_dict(), first[1].state_dict()), buffer)
    buffer.seek(0)
    weights, state = torch.load(buffer, weights_only=True)
    second = ours(cls, mode)
    second[0].load_state_dict(weights)
    second[1].load_state_dict(state)
    for gradient, rate in steps[1:]:
        step(*second, gradient, rate)
    assert torch.equal(second[0].theta, whole[0].theta), mode


@each_class
def test_groups_are_named_and_a_schedule_sets_them(cls: type) -> None:
    model, optimizer = ours(cls, "decoupled")
    (group,) = optimizer.param_groups
    assert (group["name"], group["param_names"]) == ("all", ["theta", "frozen"])
    assert group.get("weight_decay", 0.0) == 0.0
    schedule = OneCycle(name="one_cycle")
    scheduler = build_scheduler(optimizer, schedule, 10)
    for _ in range(10):
        assert type(group["lr"]) is float
        model.theta.grad = torch.ones_like(model.theta)
        optimizer.step()
        scheduler.step()
    assert group["lr"] == pytest.approx(PEAK / 25e4)
    assert bool(model.theta.isfinite().all())


@pytest.mark.parametrize("option", ["foreach", "fused", "capturable"])
def test_options_go_through(option: str) -> None:
    _, optimizer = ours(torch.optim.AdamW, "decoupled", **{option: True})
    assert optimizer.param_groups[0][option] is True


def test_an_older_l2_is_not_decayed_twice() -> None:
    """Earlier versions left l2 to torch, in the weight_decay of the groups."""
    model, optimizer = ours(torch.optim.Adam, "l2")
    state = copy.deepcopy(optimizer.state_dict())
    state["param_groups"][0]["weight_decay"] = VALUE
    optimizer.load_state_dict(state)
    reference, inner = plain(torch.optim.Adam, VALUE)
    step(model, optimizer, gradients()[0], PEAK)
    step(reference, inner, gradients()[0], PEAK)
    assert torch.equal(model.theta, reference.theta)


def test_what_a_class_refuses_is_told_in_a_line() -> None:
    with pytest.raises(ConfigError, match="optim: AdamW: Invalid beta"):
        build_optimizer(Matrix(), settings(torch.optim.AdamW, "none", betas=[2.0, 0.9]))


class Choosy(torch.optim.SGD):
    """It looks at its parameters only when it takes a step, as classes of packages do."""

    def step(self, closure: Any = None) -> Any:
        if any(p.ndim != 2 for group in self.param_groups for p in group["params"]):
            raise ValueError("only matrices\nand a second line")
        return super().step(closure)


def test_what_a_class_refuses_at_its_first_step_is_told_in_a_line() -> None:
    _, capturable = ours(torch.optim.AdamW, "none", capturable=True)
    for group in capturable.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.ones_like(parameter)
    with pytest.raises(ConfigError, match=r"AdamW cannot .* \(If capturable=True, .* arguments"):
        capturable.step()
    decay = WeightDecay(mode="none")
    model = nn.Linear(2, 2)
    optimizer = build_optimizer(model, AnyOptimizer(_target_=Choosy, lr=0.1, weight_decay=decay))
    with pytest.raises(ConfigError, match=r"Choosy cannot .* \(only matrices\); .* rule"):
        optimizer.step()
    model = nn.Linear(2, 2, bias=False)
    optimizer = build_optimizer(model, AnyOptimizer(_target_=Choosy, lr=0.1, weight_decay=decay))
    optimizer.step()
    model.weight.data = model.weight.data.flatten()
    with pytest.raises(ValueError, match="only matrices"):  # a bug, which its traceback explains
        optimizer.step()
