"""Jobs of a plan: their configs are those that the command line would give, checked, each once."""

from collections.abc import Iterator
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from ablab import project
from ablab.ablation.plan.command_line import CommandLine
from ablab.ablation.plan.compose import Job, compose_jobs
from ablab.ablation.plan.plan import read_plan
from ablab.command.folders import register_resolvers
from ablab.command.overrides import force_overrides
from ablab.config.check import check
from ablab.errors import ConfigError


@pytest.fixture(autouse=True)
def hydra() -> Iterator[None]:
    register_resolvers()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(project.current().conf), version_base="1.3"):
        yield


def jobs_of(plan: dict[str, Any], *arguments: str) -> list[Job]:
    command_line = CommandLine.parse(force_overrides(list(arguments)))
    return compose_jobs(command_line.over(read_plan(plan)), command_line, composed)


def composed(overrides: list[str]) -> DictConfig:
    return compose("config", overrides=overrides)


def typed(*arguments: str) -> dict[str, Any]:
    return check(composed(force_overrides(list(arguments)))).model_dump(mode="json")


def test_a_job_is_what_the_same_words_on_the_command_line_are() -> None:
    base = {"experiment": "recipe", "data.validation_fraction": 0.1}
    spread = {"kind": "geometric", "first": 1e-4}
    plan = {
        "base": base,
        "variants": {
            "plain": None,
            "sgd": {"optim": "momentum", "optim.lr": 0.01, "schedule": "step"},
            "spread": {"optim.lr_spread": spread},
        },
        "grid": {"optim.weight_decay.value": [0.0, 0.3]},
        "seeds": [3],
    }
    jobs = {(j.variant, j.settings["optim.weight_decay.value"]): j for j in jobs_of(plan)}
    assert len(jobs) == 6
    start = ("experiment=recipe", "data.validation_fraction=0.1")
    sgd = ("optim=momentum", "optim.lr=0.01", "schedule=step")
    end = ("optim.weight_decay.value=0.3", "seed=3")
    assert jobs["plain", 0.3].config.model_dump(mode="json") == typed(*start, *end)
    assert jobs["sgd", 0.3].config.model_dump(mode="json") == typed(*start, *sgd, *end)
    words = "optim.lr_spread={kind: geometric, first: 1e-4}"
    assert jobs["spread", 0.3].config.model_dump(mode="json") == typed(*start, words, *end)
    assert jobs["plain", 0.3].config.seeds.order == 3  # ${seed} is resolved after the seed is set


def test_a_mapping_takes_the_place_of_the_one_before() -> None:
    spread = "optim.lr_spread"
    (job,) = jobs_of(
        {
            "base": {spread: {"kind": "geometric", "first": 1e-4}},
            "variants": {"flat": {spread: {"kind": "flat", "div": 10.0}}},
        }
    )
    assert job.config.optim.lr_spread.model_dump() == {"kind": "flat", "div": 10.0}


def test_points_of_one_composition_do_not_leak_into_each_other() -> None:
    plan = {"variants": {"a": {"optim.lr": 0.5}, "b": None, "c": {"trainer.max_epochs": 2}}}
    a, b, c = jobs_of(plan)
    assert (a.config.optim.lr, b.config.optim.lr, c.config.optim.lr) == (0.5, 0.005, 0.005)
    assert (b.config.trainer["max_epochs"], c.config.trainer["max_epochs"]) == (5, 2)


def test_the_command_line_wins_and_sweeps_beside_the_plan() -> None:
    plan = {
        "base": {"trainer.max_epochs": 4},
        "variants": {"l2": {"optim.weight_decay.mode": "l2"}},
        "grid": {"optim.lr": [0.1, 0.2], "data.n_ratings": [500, 600]},
        "average": ["data.n_ratings"],
        "seeds": 5,
    }
    jobs = jobs_of(
        plan,
        "trainer.max_epochs=1",
        "data.n_ratings=500",
        "optim.lr=0.3,0.4",
        "model.n_factors=2,3",
        "seed=8,9",
    )
    assert [(j.seed, j.settings) for j in jobs] == [
        (seed, {"optim.lr": lr, "model.n_factors": n})
        for seed in (8, 9)
        for lr in (0.3, 0.4)
        for n in (2, 3)
    ]
    assert {j.config.trainer["max_epochs"] for j in jobs} == {1}
    assert {j.config.data["n_ratings"] for j in jobs} == {500}
    (fixed, *_) = jobs_of(plan, "seed=4", "optim.weight_decay.mode=none")
    assert (fixed.seed, fixed.config.optim.weight_decay.mode) == (4, "none")


def test_a_plain_multirun_is_a_plan_of_its_own() -> None:
    jobs = jobs_of({}, "experiment=recipe,phased", "seed=0,1", "optim.lr=1e-3,1e-2")
    assert len(jobs) == 8
    assert jobs[0].settings == {"experiment": "recipe", "optim.lr": 1e-3}
    assert {j.config.name for j in jobs} == {"recipe", "phased"}
    assert len({j.folder_name for j in jobs}) == 8


def test_a_glob_is_every_choice_of_a_group() -> None:
    jobs = jobs_of({}, "schedule=glob([c*,s*])")
    assert [job.settings["schedule"] for job in jobs] == ["constant", "cosine", "step"]


def test_the_very_same_config_is_run_once() -> None:
    none = {"optim.weight_decay.mode": "none"}
    jobs = jobs_of({"variants": {"a": none, "b": {**none, "optim.lr": 0.005}, "c": None}})
    assert [(j.variant, j.same_as) for j in jobs] == [("a", ["b"]), ("c", [])]
    # where runs are kept and how they are tracked does not make another run
    (first, *_), (moved, *_) = jobs_of({"seeds": 1}), jobs_of({"seeds": 1}, "paths.runs=/elsewhere")
    assert first.folder_name == moved.folder_name


def test_grid_points_of_one_config_are_one_job_that_says_so() -> None:
    """Choosing a file brings its own values, so that a value of base is lost on purpose here."""
    grid = {"schedule": ["constant", "one_cycle"], "optim": ["sgd", "momentum"]}
    jobs = jobs_of({"grid": {**grid, "optim.momentum": [0.0, 0.9]}, "seeds": 2})
    first = jobs[0]
    assert len(jobs) == 2 * 2 * 2
    assert first.settings == {"schedule": "constant", "optim": "sgd", "optim.momentum": 0.0}
    assert first.same_as == ["schedule=constant optim=momentum optim.momentum=0"]


def test_axes_of_the_command_line_can_be_averaged_and_compared_with() -> None:
    words = ("data.n_ratings=500,600", "optim.lr=0.1,0.2", "seed=0,1")
    plan = {"average": ["data.n_ratings"], "baseline": {"optim.lr": 0.1}}
    assert len(jobs_of(plan, *words)) == 8
    with pytest.raises(ConfigError, match="average: no axis"):
        jobs_of(plan, *words[1:])
    assert (
        len(jobs_of(plan, "data.n_ratings=500", *words[1:])) == 4
    )  # fixed, so nothing is averaged
    with pytest.raises(ConfigError, match="is never"):
        jobs_of(plan, words[0], "optim.lr=0.3,0.4")


def test_excluded_are_jobs_that_agree_with_every_line_of_an_entry() -> None:
    plan = {
        "variants": {"none": {"optim.weight_decay.mode": "none"}, "l2": None},
        "grid": {"optim.weight_decay.value": [0.0, 0.1, 0.2]},
        "exclude": [
            {"optim.weight_decay.mode": "none", "optim.weight_decay.value": [0.1, 0.2]},
            {"variant": "l2", "optim.weight_decay.value": 0.0},
        ],
    }
    left = [(j.variant, j.settings["optim.weight_decay.value"]) for j in jobs_of(plan)]
    assert left == [("none", 0.0), ("l2", 0.1), ("l2", 0.2)]


def test_what_is_excluded_need_not_be_a_config_at_all() -> None:
    jobs = jobs_of(
        {
            "grid": {"optim": ["sgd", "adam"], "optim.momentum": [0.0, 0.9]},
            "exclude": [{"optim": "adam"}],
        }
    )
    assert [(j.settings["optim"], j.settings["optim.momentum"]) for j in jobs] == [
        ("sgd", 0.0),
        ("sgd", 0.9),
    ]


@pytest.mark.parametrize(
    ("plan", "arguments", "told"),
    [
        (
            {"variants": {"a": {"optim.lrr": 1.0}, "b": {"optim.lrr": 1.0}}},
            (),
            "optim.lrr: unknown key; did you mean 'optim.lr'? (in a, b)",
        ),
        ({"base": {"modle.n_factors": 3}}, (), "modle: unknown key; did you mean 'model'?"),
        ({"grid": {"optim.lr": [-1.0, 0.1]}}, (), "optim.lr: should be greater than 0"),
        ({}, ("optim.lr=interval(0,1)",), "hydra/sweeper=optuna searches in it"),
        ({}, ("ablation=a,b",), "ablation: one plan at a time"),
        ({}, ("run=a,b",), "run: is for a single run"),
        ({}, ("task=test",), "task: test is for a single run"),
        ({}, ("seeds=2",), "did you mean ablation.seeds=2?"),
        ({}, ("seeds=0,1",), "did you mean ablation.seeds=[0,1]?"),
        ({}, ("dry_run=true",), "did you mean ablation.dry_run=true?"),
        ({}, ("grid.optim.lr=[0.1]",), "did you mean ablation.grid.optim.lr=[0.1]?"),
        ({}, ("phases.hed.epochs=1",), "phases.hed: no such phase"),
        ({"grid": {"threads": [1, 2]}}, (), "threads: cannot be an axis"),
        ({}, ("logger=csv,default",), "logger: cannot be an axis"),
        (
            {"metrics": ["test/loss", "val/rmsee", "train/loss_epoch"]},
            (),
            "ablation.metrics: no job measures 'val/rmsee'; did you mean 'val/rmse'?",
        ),
        (
            {
                "variants": {"a": {}, "b": {}},
                "claim": {"expect": [{"better": "a", "than": "b", "metric": "test/rmsee"}]},
            },
            (),
            "ablation.claim.expect: no job measures 'test/rmsee'; did you mean 'test/rmse'?",
        ),
        (
            {"metrics": ["val/rmse"], "base": {"data.validation_fraction": 0}},
            (),
            "no job measures 'val/rmse'",
        ),
        ({"base": {"logger": None}}, (), "logger: names a file; its values are set as logger.KEY"),
        ({"base": {"optim": {"lr": 1.0}}}, (), "optim: names a file"),
        (
            {"base": {"experiment": "phased", "phases.al.epochs": 1}},
            (),
            "phases.al: no such phase; did you mean 'all'?",
        ),
        ({"exclude": [{"optim.lrr": 1.0}]}, (), "ablation.exclude: no job has 'optim.lrr'"),
        ({"exclude": [{"seed": 0}]}, (), "ablation.exclude: leaves no job"),
    ],
)
def test_a_fault_in_any_job_is_told_before_any_runs(
    plan: dict[str, Any], arguments: tuple[str, ...], told: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        jobs_of(plan, *arguments)
    assert told in str(raised.value)


def test_folder_names_are_short_safe_and_stable() -> None:
    shell = {"_target_": "toy.callbacks.ShellAt", "step": 1, "command": "true"}
    awkward = "/a/path/with spaces/&x" + "y" * 300
    grid = {"callbacks.shell.command": [awkward]}
    (job,) = jobs_of({"base": {"callbacks.shell": shell}, "grid": grid, "seeds": 1})
    assert len(job.folder_name) < 90
    assert job.folder_name.replace("-", "").replace("_", "").replace(".", "").isalnum()
    assert job.folder_name.endswith(f"_seed0_{job.config_hash[:8]}")
