"""Where a run's metrics go while it runs: always a CSV file, and Weights & Biases where wanted."""

from lab.trackers.base import RunInfo, Tracker
from lab.trackers.csv_file import CSVTracker
from lab.trackers.weights_and_biases import WandbTracker

__all__ = ["CSVTracker", "RunInfo", "Tracker", "WandbTracker"]
