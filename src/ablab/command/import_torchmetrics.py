"""Imports that take a second off the start of a run."""

import sys
from types import ModuleType
from typing import Any


class _ScipySignal(ModuleType):
    """What torchmetrics asks of ``scipy.signal``; whoever asks for more gets it from the real one.

    ``hamming`` is there, so torchmetrics does not add it: to the real module it adds a name that
    scipy has dropped, for the sake of a package (SRMRpy) that neither needs.
    """

    hamming = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__path__":  # by ``inspect``, which asks every module
            raise AttributeError(name)
        self.step_aside()
        import scipy.signal

        return getattr(scipy.signal, name)

    def step_aside(self) -> None:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]


def import_torchmetrics() -> None:
    """Import torchmetrics, but not ``scipy.signal``, which takes longer than torchmetrics itself.

    To be called before lightning is imported, which imports it. A later ``import scipy.signal``
    finds the real module. Nothing is changed where either has been imported already.
    """
    if not {"torchmetrics", "scipy.signal"} & sys.modules.keys():
        stand_in = sys.modules["scipy.signal"] = _ScipySignal("scipy.signal")
        try:
            import torchmetrics  # noqa: F401
        finally:
            stand_in.step_aside()
