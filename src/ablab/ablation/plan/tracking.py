"""Send the table of a plan to the trackers that its jobs used."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from ablab.ablation.plan.folder import JobFolder
from ablab.config.instantiate import instantiate
from ablab.errors import RunFolderError
from ablab.report.table.plan_file import PlanFile
from ablab.trackers import RunInfo, Tracker


def send_table(folder: Path, jobs: Sequence[JobFolder], *, complete: bool) -> None:
    """Send the table of the plan in ``folder`` to each tracker of a job that accepts tables.

    Raises:
        RunFolderError: the plan or a record cannot be read.
    """
    from ablab.report import plan_numbers

    plan = PlanFile.read(folder)
    config = asdict(plan)
    del config["process"]
    asked: set[str] = set()
    for job in jobs:
        loggers = [node for node in job.job.config.logger.values() if node]
        nodes = {node["_target_"].rpartition(".")[2]: node for node in reversed(loggers)}
        if nodes.keys() <= asked:  # as of most jobs, whose records need not be read
            continue
        try:
            described = job.record().trackers
        except RunFolderError:  # The plan's end has told of it.
            described = {}
        for name, node in nodes.items():
            if name in asked or described.get(name, {"mode": "off"}).get("mode") == "off":
                continue
            asked.add(name)
            tracker: Tracker = instantiate(node)
            info = RunInfo(
                folder=folder,
                name="report",
                group=plan.name,
                tags=(),
                config=config,
                earlier={name: {**described[name], "id": plan.report_id}},
                job_type="report",
                in_plan=True,
            )
            if tracker.attach_plan(info):
                tracker.log_table("plan", *plan_numbers(folder))
                tracker.finish(0 if complete else 1)
