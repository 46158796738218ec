"""What tests of several rooms check: configs of the current project, and finished runs."""

from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from ablab import project
from ablab.command.folders import register_resolvers
from ablab.command.overrides import force_overrides
from ablab.command.user_errors import as_user_error
from ablab.config.check import check
from ablab.config.schema import Config
from ablab.runs.checkpoints import Manifest, load_checkpoint
from ablab.runs.record import RunRecord


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


def learned(folder: Path) -> dict[str, torch.Tensor]:
    """Return the parameters and buffers in the last checkpoint of a run folder."""
    last = Manifest(folder / "checkpoints").entries()[-1]
    return load_checkpoint(folder / "checkpoints" / last.file)["state_dict"]


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Return whether two state dicts are equal bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def assert_same_run(one: Path, other: Path) -> None:
    """Assert that two runs have equal parameters, metrics and histories, bit for bit."""
    assert same(learned(one), learned(other))
    assert RunRecord.read(one).metrics == RunRecord.read(other).metrics
    assert (one / "metrics.csv").read_text() == (other / "metrics.csv").read_text()


def only_run(runs: Path) -> Path:
    """Return the folder of the one run below ``runs``."""
    (record,) = runs.rglob("run.json")
    return record.parent
