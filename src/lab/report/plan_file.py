"""``plan.json``: what belongs to an ablation plan, beside the run folders of its jobs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, TypeAdapter, ValidationError

from lab.atomic import read_file
from lab.errors import RunFolderError

PLAN_FILE = "plan.json"


def _plain_name(name: str) -> str:
    """Of a folder beside the plan's file, and of no other."""
    if Path(name).name != name:
        raise ValueError(f"'{name}' is not the name of a folder")
    return name


@dataclass(frozen=True)
class PlannedJob:
    """``same_as`` names other variants that come to the very same config."""

    folder: Annotated[str, AfterValidator(_plain_name)]
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
    claim: str | None = None
    command: str | None = None

    @classmethod
    def read(cls, folder: Path) -> "PlanFile":
        """Raises RunFolderError if the folder has no readable plan."""
        path = folder / PLAN_FILE
        try:
            return TypeAdapter(cls).validate_json(read_file(path), strict=True)
        except FileNotFoundError:
            raise RunFolderError(f"{folder}: no plan is there (no file {PLAN_FILE})") from None
        except OSError as error:
            raise RunFolderError(f"{path}: cannot be read ({error.strerror})") from error
        except ValidationError as error:
            fault = error.errors()[0]
            told = ".".join(map(str, fault["loc"]))
            raise RunFolderError(f"{path}: is not a plan ({told}: {fault['msg']})") from error
