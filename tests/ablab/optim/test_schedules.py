"""Schedules against torch's own, against the formulas of their source, and against literals."""

import math
from itertools import pairwise
from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from torch import nn

from ablab.config.schema import optimiser as schema
from ablab.config.schema.optimiser import WeightDecay
from ablab.config.schema.schedule import (
    Constant,
    Cosine,
    OneCycle,
    OwnSchedule,
    Plateau,
    Schedule,
    Step,
)
from ablab.errors import CheckpointError, ConfigError
from ablab.optim.optimizers import build_optimizer
from ablab.optim.scheduler import GroupScheduler, build_scheduler, momentum_of
from ablab.optim.schedules import lr, momentum, rate_of, reductions, steps_in_common

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


def _share_of_the_run(step: int, total_steps: int) -> float:
    return step / total_steps


TABLES: list[tuple[dict[str, object], list[float]]] = [
    ({"name": "linear"}, [1, 0.75, 0.5, 0.25, 0]),
    ({"name": "linear", "warmup": 0.4, "final_ratio": 0.5}, [1 / 3, 2 / 3, 1, 0.75, 0.5]),
    ({"name": "warmup_cosine", "warmup": 0}, [1, 0.8535534, 0.5, 0.1464466, 0]),
    ({"name": "warmup_cosine", "warmup": 2, "final_ratio": 0.1}, [1 / 3, 2 / 3, 1, 0.55, 0.1]),
    ({"name": "warmup_stable_decay", "warmup": 1, "decay": 2}, [0.5, 1, 1, 0.5, 0]),
    (
        {"name": "warmup_stable_decay", "warmup": 0.2, "decay": 0.8, "shape": "sqrt"},
        [0.5, 0.5, 1 - math.sqrt(0.5), 1 - math.sqrt(0.75), 0],
    ),
    (
        {"name": "warmup_stable_decay", "warmup": 0, "decay": 2, "shape": "cosine"},
        [1, 1, 1, 0.5, 0],
    ),
    (
        {"name": "inverse_sqrt", "warmup": 1},
        [0.5, 1, math.sqrt(2 / 3), math.sqrt(0.5), math.sqrt(0.4)],
    ),
    ({"name": "inverse_sqrt", "warmup": 0.8}, [0.2, 0.4, 0.6, 0.8, 1]),
    ({"name": "plateau"}, [1, 1, 1, 1, 1]),
    ({"_target_": _share_of_the_run}, [0, 0.2, 0.4, 0.6, 0.8]),
]


@pytest.mark.parametrize(("values", "expected"), TABLES, ids=range(len(TABLES)))
def test_literal_table_of_five_steps(values: dict[str, object], expected: list[float]) -> None:
    schedule = TypeAdapter(Schedule).validate_python(values)
    found = [lr(schedule, step, 5, 2.0) for step in range(5)]
    assert found == pytest.approx([2.0 * factor for factor in expected], abs=1e-7)
    assert [rate_of(schedule)(step, 5, 2.0) for step in range(6)] == [*found, found[-1]]


@pytest.mark.parametrize(
    ("values", "common"),
    [
        ({"name": "constant"}, 10),
        ({"name": "inverse_sqrt", "warmup": 3}, 10),
        ({"name": "warmup_stable_decay", "warmup": 2, "decay": 0.4}, 6),
        ({"name": "warmup_stable_decay", "warmup": 0.2, "decay": 0.4}, 0),
        ({"name": "cosine"}, 1),
        ({"name": "step", "milestones": [0.5]}, 5),
    ],
    ids=str,
)
def test_a_longer_run_has_the_same_rates_up_to_a_step(
    values: dict[str, object], common: int
) -> None:
    schedule = TypeAdapter(Schedule).validate_python(values)
    assert steps_in_common(schedule, 10, 20) == common


@given(
    values=st.lists(st.floats(-2, 2), max_size=30),
    patience=st.integers(0, 3),
    mode=st.sampled_from(["min", "max"]),
)
def test_a_plateau_reduces_where_torchs_does(
    values: list[float], patience: int, mode: Literal["min", "max"]
) -> None:
    schedule = Plateau(name="plateau", gamma=0.5, patience=patience, threshold=0.0, mode=mode)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, mode=mode, factor=0.5, patience=patience, threshold=0.0, eps=0.0
    )
    for value in values:
        reference.step(value)
    assert 0.5 ** reductions(values, schedule) == optimizer.param_groups[0]["lr"]


def test_a_plateaus_state_goes_on() -> None:
    schedule = Plateau(name="plateau", gamma=0.5, patience=0, mode="max", monitor="val/a")
    whole, first, second = (build_scheduler(adam(), schedule, 9) for _ in range(3))
    for scheduler, values in ((whole, [3, 2, 2, 4]), (first, [3, 2])):
        for value in values:
            scheduler.step(value)  # type: ignore[arg-type]
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    second.load_state_dict(first.state_dict())
    for value in [2, 4]:
        second.step(value)  # type: ignore[arg-type]
    assert settings(second.optimizer) == settings(whole.optimizer)
    assert settings(whole.optimizer)[1][0] == 3e-2 * 0.25


@pytest.mark.parametrize("factor", [-1.0, math.nan, "high"])
def test_a_factor_that_is_none_is_refused(factor: object) -> None:
    schedule = OwnSchedule(_target_=lambda step, total_steps: factor)
    with pytest.raises(ConfigError, match="should return a factor of the peak rate"):
        build_scheduler(adam(), schedule, 5)
