"""What a plan may say, and the points it comes to."""

from typing import Any

import pytest

from ablab.ablation.plan.command_line import CommandLine
from ablab.ablation.plan.plan import check_axes, expand, read_plan
from ablab.config.written import label_of, shown
from ablab.errors import ConfigError


def test_variants_times_grid_times_seeds_in_this_order() -> None:
    plan = read_plan(
        {
            "base": {"data": "movielens", "optim.lr": 1.0},
            "variants": {"a": {"optim": "sgd"}, "b": None},
            "grid": {"optim.lr": [0.1, 0.2]},
            "seeds": 2,
        }
    )
    points = expand(plan)
    assert [(p.seed, p.variant, p.settings["optim.lr"]) for p in points] == [
        (seed, variant, lr) for seed in (0, 1) for variant in ("a", "b") for lr in (0.1, 0.2)
    ]
    # what comes later wins, so the order is base, variant, grid, seed
    assert points[1].changes == [
        ("data", "movielens"),
        ("optim.lr", 1.0),
        ("optim", "sgd"),
        ("optim.lr", 0.2),
        ("seed", 0),
    ]


def test_zipped_lists_walk_side_by_side_within_the_grid() -> None:
    plan = read_plan({"grid": {"c": [0, 1]}, "zip": {"a": [1, 2, 3], "b": ["x", "y", "z"]}})
    assert [p.settings for p in expand(plan)] == [
        {"c": c, "a": a, "b": b} for c in (0, 1) for a, b in zip((1, 2, 3), "xyz", strict=True)
    ]
    assert plan.axes == ["c", "a", "b"]


def test_without_seeds_the_config_keeps_its_own() -> None:
    (point,) = expand(read_plan({"base": {"optim.lr": 0.1}}))
    assert (point.seed, point.changes) == (None, [("optim.lr", 0.1)])
    assert [p.seed for p in expand(read_plan({"seeds": [7, 0]}))] == [7, 0]


def claiming(**part: Any) -> dict[str, Any]:
    expect = [{"metric": "test/rmse", **part}]
    return {"variants": {"a": {}, "b": {}}, "claim": {"text": "A wins.", "expect": expect}}


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"varants": {}}, "ablation.varants: unknown key; did you mean 'variants'?"),
        ({"seeds": 0}, "ablation.seeds"),
        ({"seeds": [-1]}, "ablation.seeds"),
        ({"seeds": []}, "ablation.seeds"),
        ({"seeds": "two"}, "ablation.seeds: should be how many (5), or a list ([0, 1]); not 'two'"),
        ({"variants": {False: {}}}, "ablation.variants: YAML reads a name there as False; put it"),
        ({"grid": {"optim.lr": []}}, "ablation.grid.optim.lr"),
        ({"grid": {"optim.lr": 0.1}}, "ablation.grid.optim.lr"),
        ({"zip": {"a": [1], "b": [1, 2]}}, "lists should be of one length (a has 1, b has 2)"),
        ({"grid": {"a": [1]}, "zip": {"a": [1]}}, "a is in grid as well"),
        ({"grid": {"seed": [1]}}, "list seeds under seeds"),
        ({"grid": {"a": [1]}, "baseline": {"a": 2}}, "ablation.baseline: a is never 2"),
        ({"variants": {"none": {}}, "exclude": [{"variant": "nne"}]}, "exclude: no variant 'nne'"),
        ({"base": {"task": "lr_find"}}, "base: task is for the command line"),
        ({"variants": {"a": {"hydra/launcher": "local"}}}, "hydra/launcher is for the command"),
        ({"base": {"": 1}}, "ablation.base"),
        ({"variants": {"none": {}}, "baseline": "nne"}, "no variant 'nne'; did you mean 'none'?"),
        ({"grid": {"a": [1]}, "baseline": {"b": 1}}, "baseline: no axis 'b'"),
        ({"grid": {"data.split": ["u1"]}, "average": ["data.spilt"]}, "mean 'data.split'?"),
        ({"variants": {"../up": {}}}, "ablation.variants.../up"),
        ({"exclude": [{}]}, "ablation.exclude.0"),
        ({"claim": 3}, "ablation.claim: should be a sentence, or text and expect; not 3"),
        ({"claim": {"txt": "x"}}, "ablation.claim.txt: unknown key; did you mean 'text'?"),
        (claiming(better="x", than="b"), "ablation.claim.expect.0.better: no variant 'x'; there"),
        (claiming(better="a", than="a"), "ablation.claim.expect.0: better and than are the same"),
        (claiming(better="a", then="b"), "claim.expect.0.then: unknown key; did you mean 'than'?"),
        (claiming(better="a", than="b", by="z"), "claim.expect.0.by: should be a valid number"),
        (claiming(better={"lr": 1}, than="b"), "ablation.claim.expect.0.better: no axis 'lr'"),
    ],
)
def test_a_fault_of_a_plan_is_told(values: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as raised:
        check_axes(read_plan(values))
    assert told in str(raised.value)
    assert len(str(raised.value).splitlines()) == len(set(str(raised.value).splitlines()))


def test_a_baseline_is_a_variant_or_values_on_axes() -> None:
    variants, grid = {"a": None}, {"x": [1, 2]}
    assert read_plan({"variants": variants, "baseline": "a"}).baseline_settings == {"variant": "a"}
    by_value = read_plan({"variants": variants, "grid": grid, "baseline": {"x": 1}})
    assert by_value.baseline_settings == {"x": 1}
    assert read_plan({}).baseline_settings == {}


def test_labels_are_what_one_would_type() -> None:
    assert label_of("l2", {"optim.lr": 0.005, "trainer.max_epochs": 3}) == (
        "l2 optim.lr=0.005 trainer.max_epochs=3"
    )
    assert label_of(None, {}) == ""
    assert shown({"kind": "flat", "div": 3.0}) == "{kind:flat,div:3}"
    assert [shown(v) for v in (True, None, [1, "a"], 1e-7)] == ["true", "null", "[1,a]", "1e-07"]


def test_what_a_claim_expects_of_an_axis_is_left_out_where_the_command_line_fixes_it() -> None:
    claim = claiming(better={"variant": "a", "optim.lr": 0.1}, than={"variant": "b"})
    plan = read_plan({**claim, "grid": {"optim.lr": [0.1, 0.2]}})
    (part,) = plan.expectations
    assert part.better == {"variant": "a", "optim.lr": 0.1}
    assert (part.than, part.metric, part.by) == ({"variant": "b"}, "test/rmse", 0.0)
    assert CommandLine.parse(["model.x=1"]).over(plan).expectations == plan.expectations
    assert CommandLine.parse(["optim.lr=0.1"]).over(plan).expectations == ()
    assert read_plan({"claim": "A sentence alone."}).claim.text == "A sentence alone."
