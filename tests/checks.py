"""What tests of several rooms need: composed and checked configs, of either project."""

from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from ablab import project
from ablab.command.library_errors import as_user_error
from ablab.command.main import register_resolvers
from ablab.command.overrides import force_overrides
from ablab.config.check import check
from ablab.config.schema import Config
from tests.launch import ROOT

TOY = ROOT / "tests" / "toy"


def use_toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the toy this test's project, and its package importable."""
    monkeypatch.syspath_prepend(TOY / "src")
    monkeypatch.setattr(project, "_current", project.Project(TOY))


def composed(overrides: list[str], *, hydra: bool = False, conf: Path | None = None) -> Any:
    """Compose the config of ``python train.py OVERRIDES``, unchecked.

    Args:
        hydra: keep Hydra's own node.
        conf: a folder of config files beside those of the project.
    """
    register_resolvers()
    GlobalHydra.instance().clear()
    words = [*overrides, *([f"hydra.searchpath=[file://{conf}]"] if conf else [])]
    with initialize_config_dir(str(project.current().conf), version_base="1.3"):
        return compose("config", force_overrides(words), return_hydra_config=hydra)


def checked(overrides: list[str]) -> Config:
    """Return the config that ``python train.py OVERRIDES`` runs; raise what it prints."""
    try:
        return check(composed(overrides))
    except Exception as error:
        shown = as_user_error(error)
        if shown is None:
            raise
        raise shown from error
