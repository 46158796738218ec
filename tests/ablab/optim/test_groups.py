"""Layer groups partition the parameters; roles come from the owning module."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ablab.config.schema import optimiser as schema
from ablab.config.schema.optimiser import LrSpread, Role, WeightDecay
from ablab.errors import ConfigError
from ablab.optim.groups import BiasEmbedding, classify, clean_name, plan_parameters, spread_lrs
from ablab.optim.optimizers import build_optimizer
from toy.models import Factors

NONE = WeightDecay(mode="none")


def optim(spread: LrSpread | None = None, decay: WeightDecay = NONE) -> schema.SGD:
    spread = spread or schema.UniformSpread(kind="uniform")
    return schema.SGD(name="sgd", lr=1e-3, lr_spread=spread, weight_decay=decay)


@pytest.mark.parametrize(
    ("spread", "lr", "expected"),
    [
        (schema.UniformSpread(kind="uniform"), 1e-3, [1e-3, 1e-3, 1e-3]),
        (schema.FlatSpread(kind="flat"), 3e-3, [1e-3, 1e-3, 3e-3]),
        (schema.FlatSpread(kind="flat", div=10), 1e-2, [1e-3, 1e-3, 1e-2]),
        (schema.GeometricSpread(kind="geometric", first=1e-6), 1e-4, [1e-6, 1e-5, 1e-4]),
        (schema.GeometricSpread(kind="geometric", first=1e-6), 1e-3, [1e-6, 3.16227766e-5, 1e-3]),
        (schema.LinearSpread(kind="linear", first=1e-5), 1e-3, [1e-5, 5.05e-4, 1e-3]),
        (schema.LayerDecaySpread(kind="layer_decay", factor=0.5), 1.0, [0.25, 0.5, 1.0]),
        (
            schema.MultSpread(kind="mult", multipliers={"a": 0.01, "b": 0.1, "c": 1.0}),
            1e-2,
            [1e-4, 1e-3, 1e-2],
        ),
    ],
    ids=lambda v: getattr(v, "kind", None),
)
def test_spreads_of_three_groups(spread: LrSpread, lr: float, expected: list[float]) -> None:
    found = spread_lrs(lr, ["a", "b", "c"], spread)
    assert found == pytest.approx(expected, rel=1e-8)
    assert all(type(value) is float for value in found)
    if spread.kind != "mult":
        assert spread_lrs(lr, ["only"], spread) == [lr]


def test_multipliers_must_name_the_groups() -> None:
    spread = schema.MultSpread(kind="mult", multipliers={"a": 1.0, "x": 1.0})
    with pytest.raises(ConfigError, match="'x'"):
        spread_lrs(1.0, ["a", "b"], spread)


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1))


@pytest.mark.parametrize(
    ("module", "roles"),
    [
        (nn.Linear(2, 2), {"weight": "weight", "bias": "bias"}),
        (nn.Conv2d(1, 1, 1), {"weight": "weight", "bias": "bias"}),
        (nn.BatchNorm1d(2), {"weight": "norm", "bias": "norm"}),
        (nn.LayerNorm(2), {"weight": "norm", "bias": "norm"}),
        (nn.GroupNorm(1, 2), {"weight": "norm", "bias": "norm"}),
        (nn.InstanceNorm1d(2, affine=True), {"weight": "norm", "bias": "norm"}),
        (nn.RMSNorm(2), {"weight": "norm"}),
        (nn.Embedding(3, 2), {"weight": "embedding"}),
        (nn.EmbeddingBag(3, 2), {"weight": "embedding"}),
        (nn.Embedding(3, 1), {"weight": "embedding_bias"}),
        (BiasEmbedding(3, 8), {"weight": "embedding_bias"}),
        (
            nn.GRU(1, 1),
            {
                "weight_ih_l0": "weight",
                "weight_hh_l0": "weight",
                "bias_ih_l0": "bias",
                "bias_hh_l0": "bias",
            },
        ),
        (
            nn.MultiheadAttention(2, 1),
            {
                "in_proj_weight": "weight",
                "in_proj_bias": "bias",
                "out_proj.weight": "weight",
                "out_proj.bias": "bias",
            },
        ),
        (Own(), {"bias": "other"}),
    ],
    ids=lambda v: type(v).__name__ if isinstance(v, nn.Module) else None,
)
def test_roles_by_the_owning_module(module: nn.Module, roles: dict[str, Role]) -> None:
    assert classify(module) == roles


def test_a_bias_for_each_row_of_an_embedding_is_an_embedding_bias() -> None:
    assert classify(Factors(3, 3, 2)) == {
        "u_weight.weight": "embedding",
        "i_weight.weight": "embedding",
        "u_bias.weight": "embedding_bias",
        "i_bias.weight": "embedding_bias",
    }


def test_names_are_cleaned_of_wrappers() -> None:
    assert clean_name("_orig_mod.layer._fsdp_wrapped_module.weight") == "layer.weight"


class Grouped(nn.Module):
    """Linear layers with batch norms, split after ``cuts``; the last weight may be tied."""

    def __init__(self, widths: list[int], cut: int, tied: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(w, w) for w in widths)
        self.norms = nn.ModuleList(nn.BatchNorm1d(w) for w in widths)
        if tied:
            self.alias = self.layers[0]
        self.cut = cut

    def layer_groups(self) -> dict[str, list[nn.Module]]:
        modules = [m for pair in zip(self.layers, self.norms, strict=True) for m in pair]
        return {"first": modules[: self.cut], "last": modules[self.cut :]}


@given(
    widths=st.lists(st.integers(1, 4), min_size=1, max_size=5),
    data=st.data(),
    tied=st.booleans(),
    skip=st.sets(st.sampled_from(["weight", "bias", "norm"])),
)
def test_plans_partition_the_parameters(
    widths: list[int], data: st.DataObject, tied: bool, skip: set[Role]
) -> None:
    cut = data.draw(st.integers(1, 2 * len(widths) - 1))
    model = Grouped(widths, cut, tied)
    decay = WeightDecay(mode="decoupled", value=0.1, skip=tuple(skip))
    plans = plan_parameters(model, optim(schema.FlatSpread(kind="flat"), decay))
    assert sorted(p.name for p in plans) == sorted(dict(model.named_parameters()))
    assert [p.group for p in plans] == sorted(p.group for p in plans)
    for plan in plans:
        assert plan.weight_decay == (0.0 if plan.role in skip else 0.1)
        assert plan.lr == (1e-3 if plan.group == "last" else 1e-3 / 3)
    groups = build_optimizer(model, optim(decay=decay)).param_groups
    ids = [id(p) for group in groups for p in group["params"]]
    assert sorted(ids) == sorted(id(p) for p in model.parameters())
    names = [group["name"] for group in groups]
    assert len(set(names)) == len(names)
    assert all(type(group["lr"]) is float for group in groups)


@pytest.mark.parametrize(
    ("groups", "told"),
    [
        (lambda m: {"a": [m[0]]}, "1.weight"),
        (lambda m: {"a": [m[0], m[1]], "b": [m[1]]}, "'a' and 'b'"),
        (lambda m: {"a": [m[0], m[1]], "b": [nn.ReLU()]}, "'b'"),
        (lambda m: {"a": [m[0], m[1]], "b": [nn.Linear(1, 1)]}, "'b'"),
    ],
)
def test_groups_that_are_no_partition_are_refused(groups, told: str) -> None:
    model = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
    model.layer_groups = lambda: groups(model)  # type: ignore[assignment]
    with pytest.raises(ConfigError, match=told):
        plan_parameters(model, optim())
