"""The engine's tests run the toy project: tests/toy."""

from collections.abc import Iterator

import pytest

from ablab import project
from tests.launch import TOY


@pytest.fixture(scope="package", autouse=True)
def toy_project() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(project, "_current", None)
        project.use(TOY / "train.py")
        yield
