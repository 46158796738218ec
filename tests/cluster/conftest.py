"""Fixtures of tests on real schedulers; `make test-cluster` runs them."""

from collections.abc import Iterator

import pytest

from tests.cluster import real_slurm
from tests.launch import TOY, using


@pytest.fixture(scope="package", autouse=True)
def toy_project() -> Iterator[None]:
    with using(TOY / "train.py"):
        yield


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[real_slurm.RealSlurm]:
    """Return a running SLURM of two nodes, stopped after the last test of the module."""
    if reason := real_slurm.missing():
        pytest.skip(reason)
    with real_slurm.real_slurm(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster
