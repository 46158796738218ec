"""Starting runs for tests: in this process, or as a user does, in one of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import open_dict

from ablab import project
from ablab.command.main import JobFailed, execute, register_resolvers
from ablab.command.overrides import force_overrides
from tests import forked

ROOT = Path(__file__).resolve().parents[1]
project.use(ROOT / "train.py")
TINY = [
    "data=synthetic_ratings",
    "trainer.accelerator=cpu",
    "trainer.max_epochs=3",
    "trainer.log_every_n_steps=5",
    "model.n_factors=4",
    "logger=csv",
]


def launch(overrides: list[str], folder: Path) -> float | None:
    """What ``python train.py OVERRIDES`` does, with ``folder`` for its run folder."""
    register_resolvers()
    GlobalHydra.instance().clear()
    forced = force_overrides(overrides)
    with initialize_config_dir(str(project.current().conf), version_base="1.3"):
        cfg = compose("config", overrides=forced, return_hydra_config=True)
    with open_dict(cfg):
        cfg.hydra.runtime.output_dir = str(folder)
        cfg.hydra.mode = "RUN"
        cfg.hydra.overrides.task = forced
        HydraConfig.instance().set_config(cfg)
        del cfg["hydra"]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return execute(cfg)
    except JobFailed as failure:
        raise (failure.__cause__ or failure) from None


def command(*overrides: str) -> list[str]:
    return [sys.executable, str(ROOT / "train.py"), *overrides]


def environment(**variables: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", **variables}


def train(
    *overrides: str, cwd: Path, timeout: float = 90, **variables: str
) -> subprocess.CompletedProcess[str]:
    """``python train.py OVERRIDES`` in a process of its own, from the folder ``cwd``.

    One that is forked (see tests/forked.py); ``command`` is for processes from the very start.
    """
    return forked.run(overrides, cwd, environment(**variables), timeout)


def start(*overrides: str, cwd: Path, **variables: str) -> forked.Process:
    """The same, while it goes on."""
    return forked.Process(overrides, cwd, environment(**variables))


def wait_for(condition: Callable[[], Any], timeout: float = 60) -> None:
    """Raises TimeoutError if ``condition`` does not come true."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("what was waited for did not come")
        time.sleep(0.02)
