"""A composition that jobs share gives each of them what Hydra composes for it alone."""

from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ablab import project
from ablab.ablation.plan.composition import Composition
from ablab.command.main import register_resolvers

NUMBERS = st.sampled_from([0, 1, 7, 0.25, 1e-3])
CHANGES = {
    "seed": st.integers(0, 9),
    "seeds.order": st.sampled_from([3, "${seed}", "${seeds.init}"]),
    "optim.lr": NUMBERS,
    "optim.betas": st.sampled_from([[0.9, 0.99], []]),
    "optim.weight_decay.value": NUMBERS,
    "optim.lr_spread": st.sampled_from([{"kind": "flat", "div": 3}, "${schedule}", None]),
    "schedule": st.sampled_from([None, {"name": "constant"}]),
    "trainer.max_epochs": st.sampled_from([None, 1, "${seed}"]),
    "data.new.deep.key": st.sampled_from(["text", "${optim.lr}", True]),
    "another": st.sampled_from([{}, {"a": ["${seed}"]}, "${seeds}"]),
    "model._target_": st.sampled_from(["???", "toy.Net"]),
}


@pytest.fixture(scope="module")
def shared() -> tuple[Composition, Any]:
    """A composition, and what it was before anything was set."""
    config = composed()
    return Composition(config), OmegaConf.to_container(config)


def composed(*overrides: str) -> Any:
    register_resolvers()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(project.current().conf), version_base="1.3"):
        return compose("config", overrides=list(overrides))


@given(changes=st.lists(st.fixed_dictionaries({}, optional=CHANGES), min_size=1, max_size=4))
@settings(max_examples=15, deadline=None)
def test_values_are_those_of_a_config_of_its_own(
    shared: tuple[Composition, Any], changes: list[dict[str, Any]]
) -> None:
    composition, before = shared
    for of_job in changes:
        composition.restore()
        own = OmegaConf.create(before)
        for key, value in of_job.items():
            composition.set(key, value)
            OmegaConf.update(own, key, value, merge=False, force_add=True)
        assert OmegaConf.to_container(composition.config) == OmegaConf.to_container(own)
        resolved = composition.resolved()
        if resolved is None:
            with pytest.raises(OmegaConfBaseException):
                OmegaConf.to_container(own, resolve=True)
        else:
            assert resolved == OmegaConf.to_container(own, resolve=True)


@given(seed=st.integers(0, 9), rate=NUMBERS, epochs=st.integers(1, 9))
@settings(max_examples=3, deadline=None)
def test_values_are_those_that_hydra_composes(
    shared: tuple[Composition, Any], seed: int, rate: float, epochs: int
) -> None:
    composition, _ = shared
    composition.restore()
    changes = {"seed": seed, "optim.lr": rate, "+trainer.min_epochs": epochs}
    for key, value in changes.items():
        composition.set(key.lstrip("+"), value)
    own = composed(*(f"{key}={value}" for key, value in changes.items()))
    assert composition.resolved() == OmegaConf.to_container(own, resolve=True)


def test_numbers_that_are_equal_keep_their_types(shared: tuple[Composition, Any]) -> None:
    """For Lightning 1 is one batch, 1.0 all of them."""
    composition, _ = shared
    for value in (1, 1.0, 2, True):
        composition.restore()
        composition.set("optim.lr", value)
        assert repr(composition.config.optim.lr) == repr(value)
