"""The config that Hydra composes to learn its mode is the one that it would compose again."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from ablab import project
from ablab.command.compose_once import compose_once

Load = Callable[[list[str], RunMode, bool], DictConfig]


@pytest.fixture
def asked() -> list[RunMode]:
    """For which modes Hydra was asked."""
    return []


@pytest.fixture
def load(asked: list[RunMode]) -> Iterator[Load]:
    """What loads a config of the toy project, with or without a check for sweeps."""

    def compose(self: ConfigLoaderImpl, name: str, words: list[str], mode: RunMode, **rest: Any):
        asked.append(mode)
        return self._load_configuration_impl(name, words, mode, **rest)

    composed = compose_once(compose)
    with initialize_config_dir(str(project.current().conf), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()

        def load(words: list[str], mode: RunMode, validate: bool) -> DictConfig:
            return composed(loader, "config", words, mode, validate_sweep_overrides=validate)

        yield load


@pytest.mark.parametrize("mode", [RunMode.RUN, RunMode.MULTIRUN])
@pytest.mark.parametrize(
    "words",
    [
        [],
        ["optim.lr=0.1", "logger=csv", "~checkpoints.keep", "+phases.all={epochs: 2}"],
        ["hydra.job.chdir=false", "schedule=plateau", "seed=3"],
    ],
)
def test_a_second_composition_is_the_first_one_with_its_mode(
    words: list[str], mode: RunMode, load: Load, asked: list[RunMode]
) -> None:
    load(words, RunMode.MULTIRUN, False)
    said = [*words, f"hydra.mode={mode.name}"]
    again = load(said, mode, True)
    assert asked == [RunMode.MULTIRUN]
    whole = load(said, mode, True)
    assert asked == [RunMode.MULTIRUN, mode]
    assert OmegaConf.to_container(again) == OmegaConf.to_container(whole)
    assert again.hydra.mode is mode


@pytest.mark.parametrize(
    ("words", "refused"),
    [
        (["data=points,ratings"], "Ambiguous value for argument 'data=points,ratings'"),
        (["logger=choice(csv,default)"], "requires --multirun"),
        (["model=???"], "You must specify 'model'"),
    ],
)
def test_what_is_for_sweeps_alone_is_refused_for_a_run(
    words: list[str], refused: str, load: Load
) -> None:
    load(words, RunMode.MULTIRUN, False)
    with pytest.raises(ConfigCompositionException, match=refused):
        load([*words, "hydra.mode=RUN"], RunMode.RUN, True)


@pytest.mark.parametrize("other", [["optim.lr=0.2"], ["hydra.mode=RUN"]])
def test_other_words_are_composed_anew(other: list[str], load: Load, asked: list[RunMode]) -> None:
    load(["optim.lr=0.1"], RunMode.MULTIRUN, False)
    cfg = load([*other, "hydra.mode=RUN"], RunMode.RUN, True)
    assert asked == [RunMode.MULTIRUN, RunMode.RUN]
    assert cfg.optim.lr != 0.1


def test_a_mode_that_is_set_is_kept(load: Load, asked: list[RunMode]) -> None:
    assert load(["hydra.mode=RUN"], RunMode.MULTIRUN, False).hydra.mode is RunMode.RUN
    load(["hydra.mode=RUN"], RunMode.RUN, True)
    assert len(asked) == 2
