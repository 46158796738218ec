"""Estimate how long jobs take from finished runs like them."""

import json
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

from ablab.ablation.plan.compose import Job
from ablab.errors import RunFolderError
from ablab.runs.folders import run_folders
from ablab.runs.record import RunRecord

# The sections of a config that decide how much there is to compute.
_WORK = ("data", "loading", "model", "trainer", "phases", "threads")
_NOT_WORK = ("split", "root", "weights")


class Estimate:
    """Median times of finished runs with the same work and recipe, else with the same work."""

    def __init__(self, runs: Path) -> None:
        self._seconds: dict[str, list[float]] = defaultdict(list)
        for path in run_folders(runs):
            try:
                record = RunRecord.read(path)
            except RunFolderError:
                continue
            if record.status == "done" and "total" in record.seconds:
                taken = record.seconds["total"] - record.seconds.get("start", 0.0)
                for key in _keys(record.config):
                    self._seconds[key].append(taken)

    def seconds(self, job: Job) -> float | None:
        """Return the time of ``job`` without imports, which a sweep pays once; None if unknown."""
        if not self._seconds:
            return None
        for key in _keys(job.config.model_dump(mode="json")):
            if key in self._seconds:
                return statistics.median(self._seconds[key])
        return None


def _keys(config: dict[str, Any]) -> tuple[str, str]:
    work = {key: config.get(key) for key in _WORK}
    work["data"] = {k: v for k, v in (work["data"] or {}).items() if k not in _NOT_WORK}
    same = {"work": work, "optim": config.get("optim"), "schedule": config.get("schedule")}
    return json.dumps(same, sort_keys=True), json.dumps(work, sort_keys=True)
