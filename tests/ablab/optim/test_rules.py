"""Rules: which optimiser has which parameters of a model, and several optimisers as one."""

import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ablab.config.schema.optimiser import (
    AnyOptimizer,
    Match,
    OwnOptimizer,
    OwnSpread,
    Rule,
    WeightDecay,
)
from ablab.config.schema.schedule import OneCycle
from ablab.errors import CheckpointError, ConfigError
from ablab.optim.decay import weight_penalty
from ablab.optim.explicit_decay import Several
from ablab.optim.groups import plan_parameters
from ablab.optim.optimizers import build_optimizer, describe_groups, describe_optimizers
from ablab.optim.scheduler import build_scheduler, momentum_of

MUON = OwnOptimizer(_target_="torch.optim.Muon")
HEAD = Rule(match=Match(group=-1))
MATRICES = Rule(match=Match(role="weight", ndim=2), optimizer=MUON, lr=10.0)


class Text(nn.Module):
    """An embedding, a body with matrices and a norm, and a head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.tokens = nn.Embedding(5, 4)
        self.body = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 4))
        self.head = nn.Linear(4, 2)

    def layer_groups(self) -> dict[str, list[nn.Module]]:
        return {"tokens": [self.tokens], "body": [self.body], "head": [self.head]}

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.body(self.tokens(tokens)))


def optim(*rules: Rule, mode: Any = "decoupled", **options: Any) -> AnyOptimizer:
    decay = WeightDecay(mode=mode, value=0.1, skip=("bias", "norm"))
    return AnyOptimizer(
        _target_="torch.optim.AdamW", lr=1e-3, weight_decay=decay, rules=rules, **options
    )


def step(model: nn.Module, optimizer: torch.optim.Optimizer, number: int) -> None:
    optimizer.zero_grad()
    loss = model(torch.tensor([number % 5, 1])).square().sum()
    penalty = weight_penalty(optimizer)
    (loss if penalty is None else loss + penalty).backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.5)
    optimizer.step()


def test_muon_has_the_matrices_of_the_body_and_adamw_the_rest() -> None:
    optimizer = build_optimizer(Text(), optim(HEAD, MATRICES))
    found = {
        (r.name, r.optimizer, r.lr, r.weight_decay): r.tensors for r in describe_groups(optimizer)
    }
    assert found == {
        ("body/Muon", "Muon", 1e-2, 0.1): 2,
        ("tokens", "AdamW", 1e-3, 0.1): 1,
        ("body", "AdamW", 1e-3, 0.0): 4,
        ("head/decay", "AdamW", 1e-3, 0.1): 1,
        ("head/no_decay", "AdamW", 1e-3, 0.0): 1,
    }
    assert [name.rpartition(".")[2] for name in describe_optimizers(optimizer)] == ["Muon", "AdamW"]
    of_all = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert len(of_all) == len(set(of_all)) == 9


def test_the_first_rule_that_matches_wins() -> None:
    first = Rule(match=Match(name=r"^body\.0"), lr=2.0)
    second = Rule(match=Match(group="body", role="weight"), lr=3.0)
    decay = Rule(match=Match(group="tokens"), weight_decay=WeightDecay(mode="l2", value=0.5))
    plans = {p.name: p for p in plan_parameters(Text(), optim(first, second, decay))}
    factors = {name: plan.lr / 1e-3 for name, plan in plans.items()}
    assert (factors["body.0.weight"], factors["body.2.weight"], factors["body.2.bias"]) == (2, 3, 1)
    tokens = plans["tokens.weight"]
    assert (tokens.mode, tokens.weight_decay, plans["head.weight"].mode) == ("l2", 0.5, "decoupled")
    names = [g["name"] for g in build_optimizer(Text(), optim(first, second, decay)).param_groups]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ([Rule(match=Match(name="lstm"), lr=2.0)], "rules.0: claims no parameter.*'lstm'"),
        ([HEAD, Rule(match=Match(name="head"), lr=2.0)], "rules.1: claims no parameter"),
        ([Rule(match=Match(group=3), lr=2.0)], "no layer group 3"),
        ([Rule(match=Match(role="norm"), optimizer=MUON)], "optim: Muon: .*2D"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(rules: list[Rule], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        build_optimizer(Text(), optim(*rules))


def test_several_take_the_steps_of_each() -> None:
    """Muon and AdamW of torch, each with its own decoupled decay, bitwise."""
    ours, theirs = Text(), Text()
    optimizer = build_optimizer(ours, optim(HEAD, MATRICES))
    matrices = [theirs.body[0].weight, theirs.body[2].weight]
    decayed = [theirs.tokens.weight, theirs.head.weight]
    rest = [p for p in theirs.parameters() if all(p is not q for q in (*matrices, *decayed))]
    muon = torch.optim.Muon(matrices, lr=1e-2, weight_decay=0.1)
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    adamw = torch.optim.AdamW(groups, lr=1e-3)
    for number in range(4):
        step(ours, optimizer, number)
        theirs.zero_grad()
        theirs(torch.tensor([number % 5, 1])).square().sum().backward()
        nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
        muon.step()
        adamw.step()
    assert all(
        torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True)
    )


@pytest.mark.parametrize("mode", ["l2_loss", "l2", "corrected", "cautious"])
def test_several_go_on_bitwise_with_their_schedule(mode: str) -> None:
    def build() -> tuple[Text, torch.optim.Optimizer, Any]:
        model = Text()
        optimizer = build_optimizer(model, optim(HEAD, MATRICES, mode=mode))
        return model, optimizer, build_scheduler(optimizer, OneCycle(name="one_cycle"), 8)

    def train(model: Text, optimizer: Any, scheduler: Any, numbers: range) -> None:
        for number in numbers:
            step(model, optimizer, number)
            scheduler.step()

    whole, first, second = build(), build(), build()
    train(*whole, range(8))
    train(*first, range(3))
    buffer = io.BytesIO()
    torch.save([part.state_dict() for part in first], buffer)
    buffer.seek(0)
    for part, state in zip(second, torch.load(buffer, weights_only=True), strict=True):
        part.load_state_dict(state)
    train(*second, range(3, 8))
    for a, b in zip(whole[0].parameters(), second[0].parameters(), strict=True):
        assert torch.equal(a, b)
    optimizer = second[1]
    assert isinstance(optimizer, Several)
    shared = [group for part in optimizer.parts for group in part.param_groups]
    assert all(a is b for a, b in zip(shared, optimizer.param_groups, strict=True))


def test_a_schedule_moves_the_momentum_of_each() -> None:
    optimizer = build_optimizer(Text(), optim(HEAD, MATRICES))
    build_scheduler(optimizer, OneCycle(name="one_cycle", momentum=(0.7, 0.6)), 10)
    moved = [g["betas"][0] if "betas" in g else g["momentum"] for g in optimizer.param_groups]
    assert moved == [0.7] * 5
    assert momentum_of(optimizer) == 0.7


def test_a_state_of_other_rules_is_refused() -> None:
    state = build_optimizer(Text(), optim(HEAD, MATRICES)).state_dict()
    with pytest.raises(CheckpointError, match="name of group 0: 'body/Muon' in the checkpoint"):
        build_optimizer(
            Text(), optim(MATRICES.model_copy(update={"optimizer": None}))
        ).load_state_dict(state)


def halves(lr: float, names: list[str], ratio: float = 0.5) -> list[float]:
    return [lr * ratio**number for number in reversed(range(len(names)))]


def test_a_spread_of_the_users() -> None:
    spread = OwnSpread(_target_=halves, ratio=0.1)
    plans = plan_parameters(Text(), optim(lr_spread=spread))
    rates = {plan.group: plan.lr for plan in plans}
    assert rates == pytest.approx({"tokens": 1e-5, "body": 1e-4, "head": 1e-3})
    wrong = OwnSpread(_target_=lambda lr, names: [lr])
    with pytest.raises(ConfigError, match=r"lr_spread: .*a positive rate for each of the groups"):
        plan_parameters(Text(), optim(lr_spread=wrong))
