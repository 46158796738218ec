"""Trackers log the metrics of a run: always to a CSV file, and to Weights & Biases on request."""

from ablab.trackers.base import RunInfo, Tracker
from ablab.trackers.csv_file import CSVTracker
from ablab.trackers.weights_and_biases import WandbTracker

__all__ = ["CSVTracker", "RunInfo", "Tracker", "WandbTracker"]
