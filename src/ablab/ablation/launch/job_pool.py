"""Run several jobs at a time on this machine, each in its own process and on its own GPUs."""

import os
import subprocess
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra.core.utils import JobReturn, JobStatus

from ablab.ablation.launch.devices import Needs, needs_of
from ablab.ablation.launch.job_lines import JobLines
from ablab.ablation.launch.launch import end_job, killed_on_error, start_job, stop_jobs
from ablab.ablation.launch.live_table import LiveTable
from ablab.errors import ConfigError
from ablab.runs.record import RunRecord
from ablab.safety.signals import Interruption
from ablab.training.machine import cores_here, gpus_here

_POLL = 0.05  # seconds


@dataclass
class _Running:
    process: subprocess.Popen[bytes]
    gpus: list[str]


class JobPool:
    """Start jobs in their order, each as soon as there is a place and enough free GPUs.

    ``at_a_time``: the number of places; None means one for each GPU or, without GPUs, CPU core.

    Raises:
        ConfigError: a job asks for more than this machine has.
    """

    def __init__(self, folders: Sequence[Path], at_a_time: int | None) -> None:
        gpus = gpus_here()
        if at_a_time is not None and (not isinstance(at_a_time, int) or at_a_time < 1):
            raise ConfigError(
                f"hydra.launcher.jobs_at_a_time: should be 1 or more, or null (it is {at_a_time})"
            )
        self.at_a_time = at_a_time or len(gpus) or cores_here()
        self.needs = _needs(folders, len(gpus))
        self._free = deque(gpus)
        self._waiting = deque(folders)
        self._running: dict[Path, _Running] = {}
        self._ended: dict[Path, JobReturn] = {}
        on_gpus = all(needs.gpus for needs in self.needs.values())
        places = min(self.at_a_time, len(gpus)) if on_gpus else self.at_a_time
        self._lines = JobLines(len(folders), places)

    def run(self) -> list[JobReturn]:
        """Run all jobs to their ends, and return how each ended, in the order given.

        Raises:
            RunInterrupted: this process got a signal to stop, and has stopped the jobs.
        """
        order = list(self._waiting)
        with (
            Interruption() as interruption,
            LiveTable(self._lines, by_itself=False) as table,
            killed_on_error(self._processes),
        ):
            interruption.deferred = True
            try:
                while self._waiting or self._running:
                    interruption.raise_if_requested()
                    self._start_what_fits()
                    self._take_what_ended()
                    table.update()
                    time.sleep(_POLL)
            except BaseException:
                self._lines.say(
                    f"stopping {len(self._running)} jobs, which write their checkpoints first; "
                    f"Ctrl-C again: at once"
                )
                stop_jobs(self._processes())
                raise
        return [self._ended[folder] for folder in order]

    def _processes(self) -> list[subprocess.Popen[bytes]]:
        return [job.process for job in self._running.values()]

    def _start_what_fits(self) -> None:
        while self._waiting and len(self._running) < self.at_a_time:
            folder = self._waiting[0]
            needs = self.needs[folder]
            if needs.gpus > len(self._free):
                return
            self._waiting.popleft()
            gpus = [self._free.popleft() for _ in range(needs.gpus)]
            self._lines.begin(folder, gpus)
            try:
                process = start_job(folder, self._environment(needs, gpus))
            except OSError as error:  # No memory for another process, or no place for its log.
                self._end(folder, gpus, JobReturn(_return_value=error, status=JobStatus.FAILED))
            else:
                self._running[folder] = _Running(process, gpus)

    def _take_what_ended(self) -> None:
        for folder, job in list(self._running.items()):
            if (ended := end_job(job.process)) is not None:
                del self._running[folder]
                self._end(folder, job.gpus, ended)

    def _end(self, folder: Path, gpus: list[str], ended: JobReturn) -> None:
        self._free.extend(gpus)
        self._ended[folder] = ended
        failed = ended.status is JobStatus.FAILED
        self._lines.end(folder, ended._return_value if failed else None)

    def _environment(self, needs: Needs, gpus: list[str]) -> dict[str, str]:
        """Share the cores among the places, also among those that stay empty at the end.

        Sums, and so results, depend on the number of threads.
        """
        threads = max(1, cores_here() // (self.at_a_time * needs.processes))
        return {
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads)),
            "CUDA_VISIBLE_DEVICES": ",".join(gpus),
        }


def _needs(folders: Sequence[Path], n_gpus: int) -> dict[Path, Needs]:
    needs, faults = {}, []
    for folder in folders:
        try:
            needs[folder] = needs_of(RunRecord.read(folder).config["trainer"], n_gpus)
        except ConfigError as error:
            faults.append(str(error))
    if faults:
        raise ConfigError("\n".join(dict.fromkeys(faults)))
    return needs
