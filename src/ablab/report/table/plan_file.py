"""``plan.json``: the jobs of an ablation plan and what they are compared by.

It lies beside the run folders of the jobs. The plan writes it, reports read it.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, TypeAdapter, ValidationError

from ablab.errors import RunFolderError
from ablab.safety.atomic_files import read_file, write_json

PLAN_FILE = "plan.json"


def _plain_name(name: str) -> str:
    """Return ``name``; raise ValueError if it leads out of the plan's folder."""
    if Path(name).name != name:
        raise ValueError(f"'{name}' is not the name of a folder")
    return name


@dataclass(frozen=True)
class PlannedJob:
    """A job of a plan; ``same_as`` names the other variants that have the same config."""

    folder: Annotated[str, AfterValidator(_plain_name)]
    variant: str | None
    same_as: tuple[str, ...]
    settings: dict[str, Any]
    seed: int
    config_hash: str = ""


@dataclass(frozen=True)
class Expectation:
    """A part of a claim that can be checked.

    In ``metric``, the best row with the values of ``better`` beats that of ``than`` by more than
    ``by``; with a negative ``by`` it is worse by less than that.
    """

    better: dict[str, Any]
    than: dict[str, Any]
    metric: str
    by: float = 0.0


@dataclass(frozen=True, kw_only=True)
class PlanFile:
    """The content of ``plan.json``.

    ``average`` names the axes over which the values of a seed are averaged before the spread over
    seeds is taken. ``started`` is UTC (ISO 8601). ``report_id`` is the id under which a tracker
    keeps the plan's table, the same each time the plan is started.
    """

    schema: int = 1
    name: str
    claim: str | None = None
    expect: tuple[Expectation, ...] = ()
    command: str | None = None
    baseline: dict[str, Any]
    average: tuple[str, ...]
    axes: tuple[str, ...]
    metrics: tuple[str, ...]
    git: dict[str, Any] = field(default_factory=dict)
    started: str | None = None
    report_id: str | None = None
    process: dict[str, Any] = field(default_factory=dict)
    jobs: tuple[PlannedJob, ...]

    @classmethod
    def read(cls, folder: Path) -> "PlanFile":
        """Read the plan of ``folder``. Raise RunFolderError if there is none, or it is damaged."""
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

    def write(self, folder: Path) -> None:
        """Write ``plan.json`` into ``folder``, atomically. Raise OSError if that fails."""
        write_json(folder / PLAN_FILE, asdict(self))
