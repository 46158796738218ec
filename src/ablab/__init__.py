"""Ablation Lab: a PyTorch Lightning + Hydra research template for people who run ablations."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ablab.data.module import TensorDataModule
    from ablab.training.module import SupervisedModule


def load(run_folder: Path | str) -> "tuple[SupervisedModule, TensorDataModule]":
    """Model and data of a finished run, of its folder or of a folder of runs (``ablab.runs.find``)."""
    from ablab.command.import_torchmetrics import import_torchmetrics

    import_torchmetrics()
    from ablab.training.evaluation import load as load_run  # imports torch

    return load_run(run_folder)
