"""Import lightning in less time: without ``scipy.signal``, and without garbage collections."""

import atexit
import gc
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


def import_lightning() -> None:
    """Import lightning for a process that trains or evaluates, and ends.

    No garbage is collected meanwhile, which would take a quarter of the time. The objects that
    there are afterwards are left out of later collections: in training, and at the end of the
    process. If lightning has been imported already, nothing is done.
    """
    if "lightning" in sys.modules:
        return
    collecting = gc.isenabled()
    gc.disable()
    try:
        import_torchmetrics()
        import lightning.pytorch  # noqa: F401
    finally:
        gc.freeze()
        atexit.register(_unfreeze_for_nanobind)
        if collecting:
            gc.enable()


def _unfreeze_for_nanobind() -> None:
    """Have all objects collected at the end, if a library would report those that are left.

    nanobind prints a line for each, of triton's from 3.9 on.
    """
    if any(metaclass.__module__ == "nanobind" for metaclass in type.__subclasses__(type)):
        gc.unfreeze()


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
