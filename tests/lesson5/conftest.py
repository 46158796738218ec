"""The lesson's tests run the project of this repository."""

from collections.abc import Iterator

import pytest

from ablab import project
from tests.launch import ROOT


@pytest.fixture(scope="package", autouse=True)
def lesson_project() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(project, "_current", None)
        project.use(ROOT / "train.py")
        yield
