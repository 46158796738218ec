"""``plan.json``: what belongs to an ablation plan, beside the run folders of its jobs."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.errors import RunFolderError

PLAN_FILE = "plan.json"


@dataclass(frozen=True)
class PlannedJob:
    """``same_as`` names other variants that come to the very same config."""

    folder: str
    variant: str | None
    same_as: tuple[str, ...]
    settings: dict[str, Any]
    seed: int


@dataclass(frozen=True)
class PlanFile:
    """``average``: axes over which a seed's values are averaged, before the spread over seeds."""

    name: str
    baseline: dict[str, Any]
    average: tuple[str, ...]
    axes: tuple[str, ...]
    metrics: tuple[str, ...]
    jobs: tuple[PlannedJob, ...]
    claim: str | None
    command: str | None

    @classmethod
    def read(cls, folder: Path) -> "PlanFile":
        """Raises RunFolderError if the folder has no readable plan."""
        path = folder / PLAN_FILE
        try:
            plan = json.loads(path.read_text(encoding="utf-8"))
            jobs = tuple(
                PlannedJob(
                    job["folder"],
                    job["variant"],
                    tuple(job["same_as"]),
                    job["settings"],
                    job["seed"],
                )
                for job in plan["jobs"]
            )
            return cls(
                name=plan["name"],
                baseline=plan["baseline"],
                average=tuple(plan["average"]),
                axes=tuple(plan["axes"]),
                metrics=tuple(plan["metrics"]),
                jobs=jobs,
                claim=plan.get("claim"),
                command=plan.get("command"),
            )
        except FileNotFoundError:
            raise RunFolderError(f"{folder}: no plan is there (no file {PLAN_FILE})") from None
        except OSError as error:
            raise RunFolderError(f"{path}: cannot be read ({error.strerror})") from error
        except (ValueError, TypeError, KeyError) as error:
            raise RunFolderError(f"{path}: is not a plan ({error!r})") from error
