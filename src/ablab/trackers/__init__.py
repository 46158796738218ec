"""Trackers log the metrics of a run: to a CSV file, to W&B, and to any of Lightning's loggers."""

from collections.abc import Mapping
from typing import Any

from ablab.config.instantiate import instantiate
from ablab.config.targets import component_signature
from ablab.trackers.any_logger import LoggerTracker
from ablab.trackers.base import RunInfo, Tracker
from ablab.trackers.csv_file import CSVTracker
from ablab.trackers.mlflow import MLflowTracker
from ablab.trackers.tensorboard import TensorBoardTracker
from ablab.trackers.weights_and_biases import WandbTracker

__all__ = ["CSVTracker", "LoggerTracker", "RunInfo", "Tracker", "WandbTracker", "build_tracker"]
_TRACKER = "ablab.trackers.base.Tracker"
_OF_LOGGERS: dict[str, type[LoggerTracker]] = {
    "lightning.pytorch.loggers.tensorboard.TensorBoardLogger": TensorBoardTracker,
    "lightning.pytorch.loggers.mlflow.MLFlowLogger": MLflowTracker,
}


def build_tracker(name: str, node: Mapping[str, Any]) -> Tracker:
    """Return the tracker of an entry of ``config.logger``, not yet attached to a run."""
    bases = component_signature(node["_target_"]).bases
    if _TRACKER in bases:
        return instantiate(node)
    return next((kind for base, kind in _OF_LOGGERS.items() if base in bases), LoggerTracker)(
        name, node
    )
