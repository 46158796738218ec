"""For every test: one thread, and no account or setting of the developer's own."""

import os

import pytest
from hypothesis import settings

from ablab.training.launched import RANK_VARIABLES

os.environ["OMP_NUM_THREADS"] = "1"  # so that sums are the same on any machine
# readline leaves the first two to the workers of pytest-xdist; the third hides faults of flushing.
for name in ("COLUMNS", "LINES", "PYTHONUNBUFFERED"):
    os.environ.pop(name, None)
settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")


@pytest.fixture(autouse=True)
def isolated_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory):
    """Hide the developer's W&B account, netrc, allow-list and SLURM allocation from tests."""
    for name in list(os.environ):
        if name.startswith(("WANDB_", "ABLAB_", "HYDRA_", "SLURM_")) or name in RANK_VARIABLES:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
