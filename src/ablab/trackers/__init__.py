"""Where a run's metrics go while it runs: always a CSV file, and Weights & Biases where wanted."""

from ablab.trackers.base import RunInfo, Tracker
from ablab.trackers.csv_file import CSVTracker
from ablab.trackers.weights_and_biases import WandbTracker

__all__ = ["CSVTracker", "RunInfo", "Tracker", "WandbTracker"]
