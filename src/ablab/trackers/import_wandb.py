"""Import wandb sooner before Python 3.13."""

import inspect
import os
import sys

_IMPORTER = ("importlib._bootstrap", "importlib._bootstrap_external")


def quicken_import() -> None:
    """Tell ``inspect`` which modules Python's own importer is; import nothing.

    pydantic reads the docstrings of wandb's models. Before Python 3.13 it asks ``inspect`` for the
    module of every frame on the stack. The importer's frames have no file, so ``inspect`` goes
    through all modules for each of them, and torch has loaded thousands.
    """
    if sys.version_info < (3, 13):
        for module in _IMPORTER:
            file = f"<frozen {module}>"
            for name in (file, os.path.abspath(file)):  # noqa: PTH100  # as inspect writes it
                inspect.modulesbyfile.setdefault(name, module)
