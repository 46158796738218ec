"""The import of wandb, without wandb."""

import importlib
import inspect
import sys
from types import FrameType, ModuleType

import pytest

from ablab.trackers.import_wandb import quicken_import

ABSENT = "a_module_that_there_is_not"


class Finder:
    """Finds nothing, and keeps the frame that asked."""

    frame: FrameType

    def find_spec(self, name: str, *_: object) -> None:
        if name == ABSENT:
            self.frame = sys._getframe(1)


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="pydantic asks for no module there")
def test_the_importers_frames_have_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those without one cost a look at all modules, each time that pydantic asks."""
    known: dict[str, str] = {}
    monkeypatch.setattr(inspect, "modulesbyfile", known)
    finder = Finder()
    monkeypatch.setattr(sys, "meta_path", [finder])
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(ABSENT)
    quicken_import()
    found = inspect.getmodule(finder.frame)
    assert isinstance(found, ModuleType)
    assert found.__name__ == "importlib._bootstrap"
    assert len(known) == 4  # No module was looked at: that would have added its file.
