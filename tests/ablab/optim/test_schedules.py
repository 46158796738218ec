"""Schedules against torch's own, against the formulas of their source, and against literals."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from ablab.config import schema
from ablab.config.schema import Constant, Cosine, OneCycle, Schedule, Step, WeightDecay
from ablab.errors import CheckpointError, ConfigError
from ablab.optim.optimizers import build_optimizer
from ablab.optim.scheduler import GroupScheduler, momentum_of
from ablab.optim.schedules import lr, momentum

ONE_CYCLE = OneCycle(name="one_cycle")
LINEAR = OneCycle(name="one_cycle", up="linear")
SCHEDULES: list[Schedule] = [
    Constant(name="constant"),
    ONE_CYCLE,
    LINEAR,
    Cosine(name="cosine"),
    Step(name="step", milestones=(0.3, 0.6)),
]


class TwoGroups(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(3, 3), nn.Linear(3, 1)

    def layer_groups(self) -> dict[str, list[nn.Module]]:
        return {"body": [self.body], "head": [self.head]}


def adam() -> torch.optim.Optimizer:
    optim = schema.Adam(
        name="adam",
        lr=3e-2,
        lr_spread=schema.GeometricSpread(kind="geometric", first=1e-3),
        weight_decay=WeightDecay(mode="none"),
    )
    return build_optimizer(TwoGroups(), optim)


def settings(optimizer: torch.optim.Optimizer) -> list[tuple[float, float]]:
    return [(g["lr"], g["betas"][0]) for g in optimizer.param_groups]


@pytest.mark.parametrize("total", [4, 5, 37, 100])
def test_one_cycle_is_torchs_bitwise(total: int) -> None:
    ours, theirs = adam(), adam()
    peaks = [g["lr"] for g in theirs.param_groups]
    scheduler = GroupScheduler(ours, ONE_CYCLE, total)
    reference = torch.optim.lr_scheduler.OneCycleLR(theirs, max_lr=peaks, total_steps=total)
    for step in range(total):
        for (rate, beta), (torch_rate, torch_beta) in zip(
            settings(ours), settings(theirs), strict=True
        ):
            assert rate == torch_rate
            assert beta == pytest.approx(torch_beta, abs=1e-15)
        for optimizer in (ours, theirs):
            optimizer.step()
        scheduler.step()
        if step < total - 1:
            reference.step()


def test_linear_ramp_is_fastai_1_0_28() -> None:
    """Start max/25, linear up over int(0.3 N) steps, cosine towards (max/25)/1e4."""
    peak, total = 0.1, 100
    values = [lr(LINEAR, step, total, peak) for step in range(total)]
    assert values[0] == pytest.approx(0.004)
    assert values[15] == pytest.approx(0.052)
    assert values[30] == pytest.approx(0.1)
    assert max(values) == values[30]
    assert values[65] == pytest.approx((0.1 + 4e-7) / 2)
    assert values[99] == pytest.approx(5.1e-4 * peak, rel=0.02)
    moments = [momentum(LINEAR, step, total) for step in (0, 15, 30, 65)]
    assert moments == pytest.approx([0.95, 0.90, 0.85, 0.90])


def test_literal_table_of_ten_steps() -> None:
    expected = {
        "constant": [1.0] * 10,
        "cosine": [(1 + math.cos(math.pi * s / 9)) / 2 for s in range(10)],
        "step": [1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.01],
    }
    for schedule in SCHEDULES:
        if schedule.name in expected:
            values = [lr(schedule, step, 10, 1.0) for step in range(10)]
            assert values == pytest.approx(expected[schedule.name])


@pytest.mark.parametrize("total", [1, 2, 3, 4, 10, 33])
@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: f"{s.name}-{getattr(s, 'up', '')}")
def test_ratios_hold_and_short_runs_work(schedule: Schedule, total: int) -> None:
    optimizer = adam()
    scheduler = GroupScheduler(optimizer, schedule, total)
    for _ in range(total + 2):  # Lightning steps once more after the last batch
        (body, beta), (head, _) = settings(optimizer)
        assert type(body) is float
        assert 0 <= beta < 1
        assert head > 0 or schedule.name == "cosine"
        if head:
            assert body / head == pytest.approx(1e-3 / 3e-2, rel=2e-15)
        optimizer.step()
        scheduler.step()


def test_past_the_end_the_last_value_stays() -> None:
    for schedule in SCHEDULES:
        assert lr(schedule, 10, 10, 1.0) == lr(schedule, 9, 10, 1.0)


def test_one_cycle_rises_then_falls() -> None:
    for schedule in (ONE_CYCLE, LINEAR):
        values = [lr(schedule, s, 200, 1.0) for s in range(200)]
        top = values.index(max(values))
        assert all(a < b for a, b in pairwise(values[: top + 1]))
        assert all(a > b for a, b in pairwise(values[top:]))


def test_what_has_no_momentum_is_left_without() -> None:
    optim = schema.SGD(name="sgd", lr=0.1, weight_decay=WeightDecay(mode="none"))
    optimizer = build_optimizer(TwoGroups(), optim)
    GroupScheduler(optimizer, ONE_CYCLE, 10)
    assert [g["momentum"] for g in optimizer.param_groups] == [0.0, 0.0]
    optimizer = build_optimizer(TwoGroups(), optim.model_copy(update={"momentum": 0.9}))
    GroupScheduler(optimizer, ONE_CYCLE, 10)
    assert [g["momentum"] for g in optimizer.param_groups] == [0.95, 0.95]
    optimizer = adam()
    GroupScheduler(optimizer, OneCycle(name="one_cycle", momentum=None), 10)
    assert [g["betas"][0] for g in optimizer.param_groups] == [0.9, 0.9]


@pytest.mark.parametrize(
    "optim",
    [
        schema.SGD(name="sgd", lr=0.1, momentum=0.9, weight_decay=WeightDecay(mode="none")),
        schema.RMSprop(name="rmsprop", lr=0.1, momentum=0.9, weight_decay=WeightDecay(mode="none")),
        schema.Adam(name="adam", lr=0.1, weight_decay=WeightDecay(mode="none")),
    ],
    ids=lambda optim: optim.name,
)
@pytest.mark.parametrize("cycle", [(0.9, 0.0), (0.0, 0.9)], ids=str)
def test_a_momentum_of_nothing_comes_back(optim: schema.Optim, cycle: tuple[float, float]) -> None:
    model = TwoGroups()
    optimizer = build_optimizer(model, optim)
    schedule = OneCycle(name="one_cycle", pct_start=0.5, momentum=cycle)
    scheduler = GroupScheduler(optimizer, schedule, 10)
    for step in range(10):
        assert momentum_of(optimizer) == momentum(schedule, step, 10)
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: f"{s.name}-{getattr(s, 'up', '')}")
def test_a_loaded_schedule_goes_on_bitwise(schedule: Schedule) -> None:
    whole, first, second = adam(), adam(), adam()
    schedulers = [GroupScheduler(o, schedule, 20) for o in (whole, first, second)]
    for _ in range(20):
        whole.step()
        schedulers[0].step()
    for _ in range(8):
        first.step()
        schedulers[1].step()
    second.load_state_dict(first.state_dict())
    schedulers[2].load_state_dict(schedulers[1].state_dict())
    assert settings(second) == settings(first)
    for _ in range(12):
        second.step()
        schedulers[2].step()
    assert settings(second) == settings(whole)


def test_another_schedule_or_length_is_refused() -> None:
    optimizer = adam()
    scheduler = GroupScheduler(optimizer, ONE_CYCLE, 20)
    for _ in range(2):
        optimizer.step()
        scheduler.step()
    state = scheduler.state_dict()
    for schedule, total in ((ONE_CYCLE, 30), (Constant(name="constant"), 20)):
        with pytest.raises(CheckpointError, match="over 20 steps"):
            GroupScheduler(adam(), schedule, total).load_state_dict(state)


def test_a_run_without_end_is_refused() -> None:
    with pytest.raises(ConfigError, match="max_epochs"):
        GroupScheduler(adam(), ONE_CYCLE, -1)
