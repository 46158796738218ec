"""The benchmarks' tests run the project of this repository."""

from collections.abc import Iterator

import pytest

from tests.launch import ROOT, using


@pytest.fixture(scope="package", autouse=True)
def repository() -> Iterator[None]:
    with using(ROOT / "train.py"):
        yield
