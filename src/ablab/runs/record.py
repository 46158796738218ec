"""``run.json``: the record of a run, in one file that is always written, and written last.

Reports, resuming, notebooks and benchmarks read it, never a log or a folder's name. It exists from
the start with status ``running``, for a job of a plan before it as ``planned``; ``done`` proves a
finished run.
"""

import contextlib
import functools
import os
import platform
import re
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from ablab.config.metric_names import monitored
from ablab.config.schema import NAME
from ablab.errors import RankError, RunFolderError, as_raised
from ablab.project import git_state
from ablab.runs.clock import peak_memory
from ablab.runs.identity import config_hash
from ablab.safety.atomic_files import read_file, write_json, write_yaml
from ablab.safety.printable import printable, relative
from ablab.safety.redaction import redacted

FILE_NAME = "run.json"
CONFIG_FILE = "config.yaml"
SCHEMA_VERSION = 1
# A run that is ``running`` while no process holds its folder was killed.
Status = Literal["planned", "running", "done", "failed", "interrupted"]

_NAME = re.compile(NAME)
_MAKE_ROOM = "make room or choose another folder with paths.runs=…"
COPY_THE_RUN = "copy the run folder to a place where you can write, and use the copy"
_NO_ERROR = {"type": "", "message": ""}
_PACKAGES = ("torch", "lightning", "torchmetrics", "hydra-core", "numpy", "wandb")


@dataclass
class RunRecord:
    """The content of ``run.json``. Times are UTC (ISO 8601), durations seconds, memory MiB."""

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")  # of a later version, or damaged

    name: str
    status: Status
    config: dict[str, Any]
    config_hash: str
    overrides: list[str]
    objective: dict[str, str]
    seeds: dict[str, int]
    started: str | None = None
    ended: str | None = None
    exit_code: int | None = None
    error: dict[str, str] | None = None
    git: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)  # class, whose steps and optimisers it has
    device: str | None = None
    deterministic: bool | None = None
    parameters: int | None = None
    # of each phase that has begun: the classes of its optimisers, its schedule, its groups
    optimizers: dict[str, dict[str, Any]] = field(default_factory=dict)
    data: str | None = None
    data_parts: dict[str, dict[str, Any]] = field(default_factory=dict)  # rows and digest of each
    data_resumes: str | None = None  # where the data go on after a run was killed
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    directions: dict[str, str] = field(default_factory=dict)  # "rmse" -> "min": what is better
    baselines: dict[str, dict[str, float]] = field(default_factory=dict)
    checkpoints: dict[str, str | None] = field(default_factory=dict)
    steps: int | None = None
    epochs: int | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    peak_memory: float | None = None
    trackers: dict[str, Any] = field(default_factory=dict)
    process: dict[str, Any] = field(default_factory=dict)
    continued: list[str] = field(default_factory=list)
    plan: dict[str, Any] = field(default_factory=dict)  # of a job: name, variant, settings
    stacked: dict[str, Any] = field(default_factory=dict)  # the stack it was trained in
    schema: int = SCHEMA_VERSION

    @classmethod
    def planned(
        cls, config: dict[str, Any], overrides: list[str], plan: dict[str, Any] | None = None
    ) -> "RunRecord":
        """Return the record of a run that has not begun."""
        return cls(
            name=config["name"],
            status="planned",
            config=config,
            config_hash=config_hash(config),
            overrides=[o.removeprefix("++") for o in overrides],
            objective={key: config["objective"][key] for key in ("metric", "mode")},
            seeds={"seed": config["seed"], **config["seeds"]},
            plan=plan or {},
        )

    @property
    def monitor(self) -> str:
        """The logged name of the objective's metric."""
        has_loss = {"loss": {}}  # in records of versions that knew no module without one here
        return monitored({**has_loss, **self.config.get("objective", {}), **self.objective})

    def begin(self) -> None:
        """Mark the run as running, in this process and at this commit."""
        if self.status == "planned":
            self.started = _now()
        else:
            self.continued.append(_now())
        self.status, self.ended, self.exit_code, self.error = "running", None, None, None
        self.git, self.versions = dict(git_state()), dict(_versions())
        said = [printable(redacted(argument)) for argument in sys.argv]
        self.process = {"host": platform.node(), "pid": os.getpid(), "command": said}

    @classmethod
    def read(cls, folder: Path) -> "RunRecord":
        """Read the record of a folder. Raises RunFolderError if it has none that can be read."""
        path = folder / FILE_NAME
        try:
            return _checked(_adapter().validate_json(read_file(path), strict=True))
        except FileNotFoundError:
            within = max((path.parent for path in folder.glob(f"*/{FILE_NAME}")), default=None)
            remedy = f"; name one of the runs in it, such as {within}" if within else ""
            raise RunFolderError(
                f"{folder}: no run is there (no file {FILE_NAME}){remedy}"
            ) from None
        except OSError as error:
            raise RunFolderError(f"{path}: cannot be read ({error.strerror})") from error
        except ValidationError as error:
            raise RunFolderError(f"{path}: is not a run record ({_first_fault(error)})") from error
        except ValueError as error:
            raise RunFolderError(f"{path}: is not a run record ({error})") from error

    def write(self, folder: Path) -> None:
        """Write ``run.json``. Raises RunFolderError if it cannot be written."""
        with clear_write_errors(folder / FILE_NAME):
            # asdict would copy all that is within, which takes longer than writing it.
            write_json(folder / FILE_NAME, {f.name: getattr(self, f.name) for f in fields(self)})

    def end(self, status: Status, exit_code: int, error: BaseException | None = None) -> None:
        self.status, self.exit_code, self.ended = status, exit_code, _now()
        self.peak_memory = round(peak_memory() / 2**20, 1)
        if isinstance(error, RankError) and error.word is not None:
            rank, self.error = error.word["rank"], {**error.word}
            del self.error["rank"]
            self.error["message"] = f"rank {rank}: {self.error['message']}"
        elif error is not None:
            kind, message = as_raised(error)
            self.error = {
                "type": kind,
                "message": printable(redacted(message)),
                "traceback": printable(redacted("".join(traceback.format_exception(error)))),
            }


@functools.cache
def _adapter() -> TypeAdapter[RunRecord]:
    return TypeAdapter(RunRecord)


def _checked(record: RunRecord) -> RunRecord:
    """Return the record. Raises ValueError if it lacks what every reader relies on."""
    lacking = [
        *(f"config.{key}" for key in ("data", "paths") if not is_section(record.config, key)),
        *(f"objective.{key}" for key in ("metric", "mode") if key not in record.objective),
        *(f"seeds.{key}" for key in ("seed",) if key not in record.seeds),
        *(f"error.{key}" for key in ("type", "message") if key not in (record.error or _NO_ERROR)),
        *(["plan.settings"] if record.plan and not is_section(record.plan, "settings") else []),
        *(["plan.name"] if not isinstance(record.plan.get("name", ""), str) else []),
        *(["plan.variant"] if not isinstance(record.plan.get("variant"), str | None) else []),
    ]
    if lacking:
        raise ValueError(f"it lacks {', '.join(lacking)}")
    # Others, such as what a callback has logged, may have any name, and are escaped where shown.
    for section, key in ((record.config, "phases"), (record.config.get("objective"), "metrics")):
        names = section.get(key) if isinstance(section, dict) else None
        for name in names if isinstance(names, dict) else ():
            if not _NAME.fullmatch(name):
                raise ValueError(f"config: {key} has {name!r}, which is no name")
    return record


def is_section(config: Any, key: str) -> bool:
    """Return whether ``config`` is a dictionary with another one under ``key``."""
    return isinstance(config, dict) and isinstance(config.get(key), dict)


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False)[0]
    where = ".".join(map(str, fault["loc"]))
    return f"{where}: {fault['msg']}" if where else fault["msg"]


@contextlib.contextmanager
def clear_write_errors(path: Path, remedy: str = _MAKE_ROOM) -> Iterator[None]:
    """Raise RunFolderError for an OSError in the block, which writes ``path``."""
    try:
        yield
    except OSError as error:
        told = f"{relative(path)}: cannot be written ({error.strerror}); {remedy}"
        raise RunFolderError(told) from error


def write_config(folder: Path, config: dict[str, Any]) -> None:
    """Write ``config.yaml``, the resolved config for people to read; programs read the record.

    Raises:
        RunFolderError: the file cannot be written.
    """
    with clear_write_errors(folder / CONFIG_FILE):
        write_yaml(folder / CONFIG_FILE, config)


def replace_record(folder: Path, record: RunRecord) -> None:
    """Write new ``run.json`` and ``config.yaml``.

    Whatever stops this in between, the two do not contradict each other: ``config.yaml`` is removed
    first, and a run without one can be continued.

    Raises:
        RunFolderError: one of them cannot be written.
    """
    with clear_write_errors(folder / CONFIG_FILE):
        (folder / CONFIG_FILE).unlink(missing_ok=True)
    record.write(folder)
    write_config(folder, record.config)


@functools.cache
def _versions() -> dict[str, str]:
    packages = {name: metadata.version(name) for name in _PACKAGES}
    return {"python": platform.python_version(), **packages}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
