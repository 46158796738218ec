"""Run the jobs of a plan as SLURM jobs, and wait for them.

Records say how runs ended. SLURM's queue is asked only which jobs are still in it, so a job that
ends without a result is seen at the next calls of squeue, also where there is no accounting.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus

from ablab.ablation.launch.devices import needs_of
from ablab.ablation.launch.job_lines import JobLines
from ablab.ablation.launch.launch import JobKilled
from ablab.ablation.launch.live_table import LiveTable
from ablab.ablation.launch.slurm_queue import SlurmError, SlurmJob, SlurmQueue
from ablab.ablation.launch.slurm_settings import SlurmSettings
from ablab.errors import ConfigError, RunFolderError
from ablab.runs.record import RunRecord

_FINAL = ("done", "failed")
_PASSING = ("None", "Priority", "Resources", "BeginTime", "Prolog", "Cleaning", "Licenses")
_MANY = 10**6  # GPUs: SLURM knows how many there are
_SHOWN = 20  # numbers of jobs in a line


def run_on_slurm(folders: Sequence[Path], settings: SlurmSettings) -> list[JobReturn]:
    """Queue the jobs that SLURM does not have yet, wait for all, and return how each ended.

    Raises:
        ConfigError: SLURM refuses the first job, or is not here.
    """
    for folder in folders:
        trainer = RunRecord.read(folder).config["trainer"]
        _refuse_nodes(trainer)
        if settings.gpus_per_node == "auto":
            needs_of(trainer, _MANY)
    return _Wait(folders, settings).run()


def _refuse_nodes(trainer: dict[str, Any]) -> None:
    if trainer.get("num_nodes", 1) != 1:
        raise ConfigError(
            f"trainer.num_nodes: {trainer['num_nodes']} machines are asked for, but a job of a "
            f"plan runs on one; run it alone, by srun in a batch script (docs/launchers.md)"
        )


def _status(folder: Path) -> str | None:
    """Return how far a run is by its record; None if somebody has removed or damaged that."""
    try:
        return RunRecord.read(folder).status
    except RunFolderError:
        return None


def _forget_failure(folder: Path) -> None:
    """Make a failed run one that is to be continued: its old error must not pass for a new one."""
    record = RunRecord.read(folder)
    if record.status == "failed":
        record.status, record.error = "interrupted", None
        record.write(folder)


class _Wait:
    def __init__(self, folders: Sequence[Path], settings: SlurmSettings) -> None:
        self.folders = folders
        self.settings = settings
        self.queue = SlurmQueue(settings)
        self.lines = JobLines(len(folders), len(folders))
        self._waiting = list(folders)
        self._numbers: dict[Path, str] = {}  # of the jobs that SLURM has
        self._again: dict[Path, int] = {}  # how often a job was queued again
        self._ended: dict[Path, JobReturn] = {}
        self._missing: set[Path] = set()
        self._said: set[str] = set()

    def run(self) -> list[JobReturn]:
        with LiveTable(self.lines, by_itself=False) as table:
            try:
                while len(self._ended) < len(self.folders):
                    if (jobs := self._jobs()) is not None:
                        self._take(jobs)
                        self._submit(jobs)
                    self._sleep(table)
            except BaseException:
                self._say_what_goes_on()
                raise
        return [self._ended[folder] for folder in self.folders]

    def _jobs(self) -> dict[Path, SlurmJob] | None:
        try:
            return self.queue.jobs()
        except SlurmError as error:
            if not self._numbers and not self._ended:
                raise
            self._say_once(f"SLURM does not answer ({error}); waiting for it")
            return None

    def _take(self, jobs: dict[Path, SlurmJob]) -> None:
        """Note which jobs wait, run or have left the queue."""
        for folder in list(self._waiting):
            if folder in jobs and jobs[folder].state != "COMPLETING":  # of a killed sweep
                self._waiting.remove(folder)
                self._numbers[folder] = jobs[folder].number
        for folder, number in list(self._numbers.items()):
            if job := jobs.get(folder):
                self._missing.discard(folder)
                self._note(folder, job)
            elif _status(folder) in _FINAL or folder in self._missing:
                self._missing.discard(folder)
                del self._numbers[folder]
                self._end(folder, number)
            else:  # The record may come late over a network: look at it once more.
                self._missing.add(folder)

    def _note(self, folder: Path, job: SlurmJob) -> None:
        if job.state == "RUNNING" and folder not in self.lines.running:
            self.lines.begin(folder)
        elif job.state == "PENDING":
            self.lines.leave(folder)
            if job.reason not in _PASSING:
                self._say_once(f"SLURM job {job.number} waits: {job.reason}")

    def _end(self, folder: Path, number: str) -> None:
        status = _status(folder)
        how = None if status in _FINAL else self.queue.ended(number)
        if how is not None and how.is_there:
            self._numbers[folder] = number
            return
        times = self._again.get(folder, 0) + (how.restarts if how is not None else 0)
        goes_on = how is not None and how.goes_on and status is not None
        if goes_on and times < self.settings.max_num_timeout:
            self._again[folder] = times + 1
            self._waiting.append(folder)
            self.lines.leave(folder)
            self.lines.say(f"SLURM job {number} ended ({how}); it is queued again")
            return
        error: Exception | None = None
        if status == "failed":
            error = ChildProcessError("failed")
        elif status != "done":
            told = f"SLURM job {number} ended without a result ({how or 'SLURM has forgotten it'})"
            could_not_begin = how is not None and how.state == "FAILED" and status == "planned"
            error = (ChildProcessError if could_not_begin else JobKilled)(told)
        self.lines.end(folder, None if status in _FINAL else error)
        if error is None:
            self._ended[folder] = JobReturn(status=JobStatus.COMPLETED)
        else:
            self._ended[folder] = JobReturn(_return_value=error, status=JobStatus.FAILED)

    def _submit(self, jobs: dict[Path, SlurmJob]) -> None:
        for folder in [f for f in self._waiting if f not in jobs]:  # One may be ending still.
            if len(self._numbers) >= self.settings.jobs_at_a_time:
                return
            try:
                _forget_failure(folder)
                left = self.settings.max_num_timeout - self._again.get(folder, 0)
                self._numbers[folder] = self.queue.submit(folder, left)
            except RunFolderError as lost:
                self.lines.end(folder, lost)
                self._ended[folder] = JobReturn(_return_value=lost, status=JobStatus.FAILED)
            except SlurmError as error:
                if not self._numbers and not self._ended:
                    raise
                self._say_once(f"SLURM takes no more jobs for now ({error})")
                return
            self._waiting.remove(folder)

    def _sleep(self, table: LiveTable) -> None:
        self.lines.at_a_time = max(1, len(self.lines.running))
        deadline = time.monotonic() + self.settings.poll_seconds
        while time.monotonic() < deadline and len(self._ended) < len(self.folders):
            table.update()
            time.sleep(min(0.5, self.settings.poll_seconds))

    def _say_once(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            self.lines.say(line)

    def _say_what_goes_on(self) -> None:
        if numbers := list(self._numbers.values()):
            more = " …" if len(numbers) > _SHOWN else ""
            self.lines.say(
                f"{len(numbers)} jobs stay in SLURM's queue, and the same command waits for them; "
                f"to stop them: scancel {' '.join(numbers[:_SHOWN])}{more}"
            )
