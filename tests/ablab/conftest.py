"""The engine's tests run the toy project: tests/toy."""

from collections.abc import Iterator

import pytest

from tests.launch import TOY, using


@pytest.fixture(scope="package", autouse=True)
def toy_project() -> Iterator[None]:
    with using(TOY / "train.py"):
        yield
