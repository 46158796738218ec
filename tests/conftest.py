"""What every test may rely on: offline, one thread, and no account of the developer's own."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

from lab.launched import RANK_VARIABLES

os.environ["OMP_NUM_THREADS"] = "1"  # two workers share two cores; sums are the same on any machine
settings.register_profile("suite", deadline=None, derandomize=True)  # on a busy machine as well
settings.load_profile("suite")
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def isolated_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory):
    """No W&B account, netrc, allow-list or SLURM allocation of the developer's reaches a test."""
    for name in list(os.environ):
        if name.startswith(("WANDB_", "LAB_", "HYDRA_", "SLURM_")) or name in RANK_VARIABLES:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture
def root() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture
def allow_test_callbacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_ALLOWED_TARGETS", "tests")
