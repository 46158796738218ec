"""Ablation Lab: a PyTorch Lightning + Hydra research template for people who run ablations."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab.data.loader import TensorDataModule
    from lab.module import SupervisedModule


def load(run_folder: Path | str) -> "tuple[SupervisedModule, TensorDataModule]":
    """Model and data of a finished run, of its folder or of a folder of runs (``lab.saved``)."""
    from lab.quick_start import import_torchmetrics

    import_torchmetrics()
    from lab.saved import load as load_run  # imports torch

    return load_run(run_folder)
