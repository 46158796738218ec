"""Compositions that the tests keep are those of Hydra."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal import config_loader_impl
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.errors import ConfigCompositionException
from omegaconf import OmegaConf

from ablab.command.folders import register_resolvers
from tests import composed_once
from tests.launch import PHASES, TINY


def composed(*overrides: str) -> str:
    register_resolvers()
    with initialize_config_dir(str(composed_once.TOY_CONF), version_base="1.3"):
        return OmegaConf.to_yaml(compose("config", list(overrides), return_hydra_config=True))


@contextmanager
def nothing_kept() -> Iterator[None]:
    with (
        patch.object(OmegaConf, "load", composed_once._load),
        patch.object(config_loader_impl, "create_defaults_list", composed_once._create),
        patch.object(
            ConfigLoaderImpl, "_compose_config_from_defaults_list", composed_once._compose
        ),
    ):
        yield


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        TINY,
        [*TINY, "seed=3"],
        [*TINY, "optim=momentum", "optim.lr=0.1"],
        ["optim=adamw", *TINY],
        PHASES,
        [*TINY, "+callbacks.stop={_target_: toy.callbacks.SignalAt, step: 3}"],
        ["hydra/launcher=local", "hydra.launcher.jobs_at_a_time=2"],
    ],
    ids=lambda overrides: " ".join(overrides)[:60],
)
def test_equal(overrides: list[str]) -> None:
    with nothing_kept():
        expected = composed(*overrides)
    assert composed(*overrides) == expected
    assert composed(*overrides) == expected  # by now they are kept
    with nothing_kept(), composed_once.composed_once():
        assert composed(*overrides) == expected  # as another process has kept them


def test_an_unknown_key_is_refused_again_and_again() -> None:
    for _ in range(2):
        with pytest.raises(ConfigCompositionException):
            composed(*TINY, "optim.lrr=1")
