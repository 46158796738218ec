"""Run the jobs of a plan as tasks on a Ray cluster, each in a process that its task starts.

Ray hands out CPUs and GPUs and says which tasks have ended; records say how runs ended. A job whose
machine is lost becomes a new task, which continues its run on another machine.
"""

import contextlib
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

from hydra.core.utils import JobReturn, JobStatus
from pydantic import Field

from ablab import project
from ablab.ablation.launch.devices import needs_of
from ablab.ablation.launch.job_lines import JobLines
from ablab.ablation.launch.launch import (
    JobKilled,
    end_job,
    job_return,
    killed_on_error,
    start_job,
    stop_jobs,
)
from ablab.ablation.launch.live_table import LiveTable
from ablab.ablation.launch.ray_head import watched_head
from ablab.config.schema.values import Count, Integer, NotNegative, Section, Text
from ablab.errors import ConfigError, RunFolderError
from ablab.runs.record import RunRecord
from ablab.safety.folder_lock import is_locked

_POLL = 0.2  # seconds
_LOOK = 2.0  # seconds between two looks for jobs that have begun, which read their records
_PATIENCE = 60.0  # seconds that a job whose task has ended gets to write its checkpoint


class RaySettings(Section):
    """The settings of ``hydra.launcher``."""

    address: Text | None
    cpus_per_job: Count
    gpus_per_job: Literal["auto"] | NotNegative
    max_retries: Annotated[Integer, Field(ge=0)]


@dataclass(frozen=True)
class _Task:
    folder: Path
    started: int  # how often the job was


def _ray() -> Any:
    """Import Ray, which no other launcher needs."""
    return import_module("ray")


def run_on_ray(folders: Sequence[Path], settings: RaySettings) -> list[JobReturn]:
    """Run all jobs to their ends, and return how each ended.

    Raises:
        ConfigError: there is no such cluster, or it can never run one of the jobs.
    """
    ray = _ray()

    trainers = {folder: RunRecord.read(folder).config["trainer"] for folder in folders}
    with _connected(settings.address):
        there = ray.cluster_resources()
        needs = {folder: _resources(trainers[folder], settings, there) for folder in folders}
        places = min(_places(each, there) for each in needs.values())
        return _Wait(folders, needs, settings, places).run()


@contextlib.contextmanager
def _connected(address: str | None) -> Any:
    """Connect to a cluster, or start one, and leave the handlers of signals as they are."""
    ray = _ray()

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        # Only what the jobs print counts, which goes to their logs.
        # By None, Ray would wait for the cluster that was last started here, also if it is gone.
        address = address or os.environ.get("RAY_ADDRESS") or "local"
        ray.init(address, log_to_driver=False, logging_level="ERROR", include_dashboard=False)
    except (ConnectionError, ValueError) as error:
        raise ConfigError(f"hydra.launcher.address: no Ray cluster is there ({error})") from error
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    try:
        yield
    finally:
        ray.shutdown()


def _resources(
    trainer: dict[str, Any], settings: RaySettings, there: dict[str, float]
) -> dict[str, Any]:
    """Return what Ray sets aside for a job; raise ConfigError if the cluster never has it."""
    gpus = settings.gpus_per_job
    if gpus == "auto":
        gpus = needs_of(trainer, int(there.get("GPU", 0))).gpus
    needs = {"num_cpus": settings.cpus_per_job, "num_gpus": gpus}
    for key, name in (("num_cpus", "CPU"), ("num_gpus", "GPU")):
        if needs[key] > there.get(name, 0):
            raise ConfigError(
                f"hydra.launcher.{key[4:]}_per_job: a job needs {needs[key]:g} {name}s, and the "
                f"Ray cluster has {there.get(name, 0):g}"
            )
    return needs


def _places(needs: dict[str, Any], there: dict[str, float]) -> int:
    """Return how many such jobs the cluster can run at a time."""
    sizes = ((needs["num_cpus"], "CPU"), (needs["num_gpus"], "GPU"))
    return int(min(there[name] // size for size, name in sizes if size))


class _Wait:
    def __init__(
        self,
        folders: Sequence[Path],
        needs: dict[Path, dict[str, Any]],
        settings: RaySettings,
        places: int,
    ) -> None:
        self.folders = folders
        self.needs = needs
        self.settings = settings
        self.lines = JobLines(len(folders), places)
        self._looked = 0.0
        self._tasks: dict[Any, _Task] = {}
        self._ended: dict[Path, JobReturn] = {}

    def run(self) -> list[JobReturn]:
        ray = _ray()

        for folder in self.folders:
            self._start(_Task(folder, 1))
        head = ray.get_runtime_context().gcs_address
        with (
            watched_head(head, self.lines.say),
            LiveTable(self.lines, by_itself=False) as table,
        ):
            try:
                while self._tasks:
                    ready, _ = ray.wait(list(self._tasks), timeout=_POLL)
                    for reference in ready:
                        self._take(reference, self._tasks.pop(reference))
                    self._note_begun()
                    table.update()
            except BaseException:
                self.lines.say("stopping the jobs, which write their checkpoints first")
                for reference in self._tasks:
                    ray.cancel(reference, force=False)
                ray.wait(list(self._tasks), num_returns=len(self._tasks), timeout=_PATIENCE)
                raise
        return [self._ended[folder] for folder in self.folders]

    def _start(self, task: _Task) -> None:
        ray = _ray()

        needs = self.needs[task.folder]
        remote = ray.remote(**needs, max_retries=0)(_run)
        reference = remote.remote(
            str(project.current().train_file),
            str(task.folder.absolute()),
            _environment(needs),
        )
        self._tasks[reference] = task

    def _note_begun(self) -> None:
        """Note which jobs run, by their records; Ray starts about as many as there are places."""
        if time.monotonic() - self._looked < _LOOK:
            return
        self._looked = time.monotonic()
        waiting = (t.folder for t in self._tasks.values() if t.folder not in self.lines.running)
        for folder in islice(waiting, self.lines.at_a_time):
            with contextlib.suppress(RunFolderError):  # Its task will end with it.
                if is_locked(folder) and RunRecord.read(folder).status == "running":
                    self.lines.begin(folder)

    def _take(self, reference: Any, task: _Task) -> None:
        ray, folder = _ray(), task.folder
        try:
            ended = job_return(ray.get(reference))
        except ray.exceptions.RayTaskError as error:  # The job could not be started there.
            ended = JobReturn(status=JobStatus.FAILED, _return_value=error.cause or error)
        except ray.exceptions.RayError as error:
            # Its machine or its worker is gone, and the run with it.
            if task.started <= self.settings.max_retries:
                self.lines.leave(folder)
                self.lines.say(f"{folder.name}: {_name(error)}; it is started again")
                self._start(_Task(folder, task.started + 1))
                return
            lost = JobKilled(f"its machine was lost {task.started} times")
            ended = JobReturn(status=JobStatus.FAILED, _return_value=lost)
        self._ended[folder] = ended
        failed = ended.status is JobStatus.FAILED
        self.lines.end(folder, ended._return_value if failed else None)


def _name(error: Exception) -> str:
    return f"its task was lost ({type(error).__name__})"


def _environment(needs: dict[str, Any]) -> dict[str, str]:
    threads = os.environ.get("OMP_NUM_THREADS", f"{needs['num_cpus']:.0f}")
    # Ray says which GPUs a task has; a task without any may see them all.
    return {"OMP_NUM_THREADS": threads} | (
        {} if needs["num_gpus"] else {"CUDA_VISIBLE_DEVICES": ""}
    )


def _run(train_file: str, folder: str, environment: dict[str, str]) -> int:
    """Run a job in a process of its own; return its exit status.

    If Ray cancels the task, the job is asked to write its checkpoint.
    """
    project.use(train_file)
    deadline = time.monotonic() + _PATIENCE
    while is_locked(Path(folder)) and time.monotonic() < deadline:
        time.sleep(_POLL)  # An earlier task is lost, and its run writes a checkpoint yet.
    job = start_job(Path(folder), environment)
    with killed_on_error(lambda: [job]):
        try:
            while job.poll() is None:  # Ray cancels with an interrupt that no system call sees.
                time.sleep(_POLL)
        except BaseException:
            stop_jobs([job])
            raise
    end_job(job)
    return job.returncode
