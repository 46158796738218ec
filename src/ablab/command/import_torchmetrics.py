"""Import torchmetrics without ``scipy.signal``, which saves about a second of each start."""

import sys
from types import ModuleType
from typing import Any


class _ScipySignal(ModuleType):
    """A stand-in for ``scipy.signal`` that loads the real module when an attribute is used.

    It has ``hamming``, so that torchmetrics does not add that name, which scipy has dropped, to the
    real module for the package SRMRpy.
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

    Call it before lightning is imported, which imports torchmetrics. A later
    ``import scipy.signal`` finds the real module. If either has been imported already, nothing is
    done.
    """
    if not {"torchmetrics", "scipy.signal"} & sys.modules.keys():
        stand_in = sys.modules["scipy.signal"] = _ScipySignal("scipy.signal")
        try:
            import torchmetrics  # noqa: F401
        finally:
            stand_in.step_aside()
