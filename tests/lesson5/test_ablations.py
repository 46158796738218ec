"""Every shipped plan is a record that says what it claims, and composes as a whole."""

import re
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from ablab.ablation.plan.command_line import CommandLine
from ablab.ablation.plan.compose import Job, compose_jobs
from ablab.ablation.plan.plan import Plan, read_plan
from ablab.command.folders import register_resolvers
from ablab.command.overrides import force_overrides
from ablab.config.check import check
from tests.launch import ROOT
from tests.lesson5.pages import blocks_of

PLANS = sorted(path.stem for path in (ROOT / "conf" / "ablation").glob("*.yaml"))
JOBS = {  # how many each comes to, worked out by hand; and what a user has to add
    "adamw_heatmap": ((7 + 9) * 7 * 3, []),
    "collab_recipe": (5 * 5, []),
    "discriminative_lr": (5 * 5, ["model.weights=folder"]),
    "one_cycle": (8 * 5 * 5, []),
    "weight_decay": (5 * 5, []),
    "weight_decay_mnist": (5 * 5, []),
}


def jobs_of_a_seed(plan: Plan, more: list[str]) -> list[Job]:
    """Return the jobs of the plan's first seed; those of the others differ in it alone."""
    plan = plan.model_copy(update={"seeds": plan.seed_values[:1]})
    register_resolvers()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        command_line = CommandLine.parse(force_overrides(more))
        return compose_jobs(plan, command_line, lambda words: compose("config", overrides=words))


def test_the_plan_of_the_documentation_is_one() -> None:
    blocks = blocks_of(ROOT / "docs" / "ablations.md")
    (example,) = (block for block in blocks if block.title == "conf/ablation/rates.yaml")
    plan = read_plan(OmegaConf.to_container(OmegaConf.create(example.content)))  # type: ignore[arg-type]
    every, without_decay, l2_in_large_batches = 3 * 2 * 2 * 2 * 5, 2 * 2 * 5, 2 * 2 * 5
    of_all_seeds = every - without_decay - l2_in_large_batches
    assert len(jobs_of_a_seed(plan, [])) * 5 == of_all_seeds


def test_each_plan_is_known_here() -> None:
    assert set(PLANS) <= set(JOBS)


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_composes_and_says_what_it_claims(name: str) -> None:
    text = (ROOT / "conf" / "ablation" / f"{name}.yaml").read_text()
    plan = read_plan(OmegaConf.to_container(OmegaConf.create(text)))  # type: ignore[arg-type]
    assert plan.claim.text
    assert plan.claim.expect
    header = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
    for word in ("Source:", "Command:", "Expected:"):
        assert re.search(rf"^# {word} +\S", header, re.MULTILINE), word
    assert f"ablation={name}" in header
    number, more = JOBS[name]
    jobs = jobs_of_a_seed(plan, more)
    assert len(jobs) * len(set(plan.seed_values)) == number
    assert len({job.folder_name for job in jobs}) == len(jobs)
    for metric in plan.metrics:
        stage, _, short = metric.partition("/")
        assert short in {"loss", *jobs[0].config.objective.metrics}
        if stage == "val":
            assert all(job.config.data["validation_fraction"] > 0 for job in jobs)
        else:
            assert all(job.config.test for job in jobs)


@pytest.mark.slow
@pytest.mark.parametrize("name", PLANS)
def test_a_job_has_the_config_that_hydra_composes_for_it_alone(name: str) -> None:
    """Jobs share a composition, in which each sets its own values (see ``Composition``).

    A mapping in a plan replaces what was there, which no word of a command line does.
    """
    text = (ROOT / "conf" / "ablation" / f"{name}.yaml").read_text()
    plan = read_plan(OmegaConf.to_container(OmegaConf.create(text)))  # type: ignore[arg-type]
    jobs = jobs_of_a_seed(plan, JOBS[name][1])[::17]
    for job in (job for job in jobs if "{" not in " ".join(job.overrides)):
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            own = check(compose("config", overrides=force_overrides(job.overrides)))
        assert own.model_dump() == job.config.model_dump()


def test_the_spread_of_seeds_is_not_that_of_splits() -> None:
    """All seeds of a plan see the same split, else the differences are not paired."""
    for path in Path(ROOT / "conf" / "ablation").glob("*.yaml"):
        assert "seeds.split" not in path.read_text()
