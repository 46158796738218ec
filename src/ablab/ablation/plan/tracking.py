"""A plan's table at Weights & Biases, in the group that its jobs are in."""

import json
from collections.abc import Sequence
from pathlib import Path

from hydra.utils import instantiate

from ablab.ablation.plan.folder import PLAN_FILE, JobFolder
from ablab.trackers import RunInfo, WandbTracker


def send_table(folder: Path, jobs: Sequence[JobFolder], *, complete: bool) -> None:
    """A W&B run ``report``, the same one each time, if any job was tracked there; else nothing."""
    from ablab.report import plan_numbers

    tracked = next((job for job in jobs if _tracked(job)), None)
    if tracked is None:
        return
    plan = json.loads((folder / PLAN_FILE).read_text())
    nodes = tracked.job.config.logger.values()
    node = next(n for n in nodes if n and n["_target_"].endswith(".WandbTracker"))
    tracker: WandbTracker = instantiate(node, _convert_="all")
    if tracker.mode == "online":  # but a server that could not be reached is not waited for again
        tracker.mode = tracked.record().trackers["WandbTracker"]["mode"]
    tracker.attach(
        RunInfo(
            folder=folder,
            name="report",
            group=plan["name"],
            tags=(),
            config={key: value for key, value in plan.items() if key != "process"},
            earlier={"WandbTracker": {"id": plan["report_id"]}},
            job_type="report",
            in_plan=True,
        )
    )
    columns, rows = plan_numbers(folder)
    tracker.log_table("plan", columns, rows)
    tracker.finish(0 if complete else 1)


def _tracked(job: JobFolder) -> bool:
    if job.status() == "unreadable":
        return False
    mode = job.record().trackers.get("WandbTracker", {}).get("mode")
    return mode in ("online", "offline")
