"""Ablation Lab: an engine for ablations with PyTorch Lightning and Hydra."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning.pytorch import LightningDataModule, LightningModule

    from ablab.data.dataset_module import DatasetModule
    from ablab.data.module import TensorDataModule
    from ablab.errors import UserError
    from ablab.findings import Findings
    from ablab.optim.configure import configure_optimizers
    from ablab.training.module import SupervisedModule

__all__ = [
    "DatasetModule",
    "Findings",
    "SupervisedModule",
    "TensorDataModule",
    "UserError",
    "configure_optimizers",
    "load",
]
_PLACES = {  # imported when they are first asked for: most import torch
    "DatasetModule": "ablab.data.dataset_module",
    "Findings": "ablab.findings",
    "SupervisedModule": "ablab.training.module",
    "TensorDataModule": "ablab.data.module",
    "UserError": "ablab.errors",
    "configure_optimizers": "ablab.optim.configure",
}


def load(run_folder: Path | str) -> "tuple[LightningModule, LightningDataModule]":
    """Load the model (best checkpoint, in eval mode, on the CPU) and the data of a finished run.

    Args:
        run_folder: a run folder, or a folder of runs, of which the newest finished one is taken.

    Raises:
        RunFolderError: there is no run.
        CheckpointError: it has no undamaged checkpoint.
        ConfigError: its model or data are of a package that the project around the working folder
            does not have.
    """
    from ablab.command.import_lightning import import_torchmetrics

    import_torchmetrics()
    from ablab.training.evaluation import load as load_run

    model, data = load_run(run_folder)
    return model, data.own


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'ablab' has no attribute '{name}'")
    return getattr(import_module(_PLACES[name]), name)
