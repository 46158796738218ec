"""Start and stop jobs, each named by nothing but its prepared run folder: ``run=FOLDER``."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig

from ablab import project
from ablab.config.written import assignment
from ablab.errors import ConfigError, RunFolderError
from ablab.runs.record import RunRecord
from ablab.safety.signals import STOP_SIGNALS, end_with_parent
from ablab.training.launched import RANK_VARIABLES

_GRACE = 10.0  # seconds; a job that gets a second signal stops without a checkpoint


class JobKilled(ChildProcessError):  # noqa: N818  # The job itself has no error.
    """A signal ended a job; it continues when it is run again."""


def run_override(folder: Path) -> str:
    """Return ``run=FOLDER``, quoted for Hydra's grammar."""
    return assignment("run", str(folder.absolute()))


def folder_of(overrides: Sequence[str]) -> Path:
    """Return the run folder of a job; raise ConfigError if its overrides do not name one."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    folders = [o.value() for o in parsed if o.key_or_group == "run"]
    if len(folders) != 1 or not isinstance(folders[0], str):
        raise ConfigError(
            "hydra/launcher: this launcher works with hydra/sweeper=ablation and optuna only; "
            "add hydra/launcher=basic for another sweeper"
        )
    return Path(folders[0])


def needs_own_processes(folder: Path) -> bool:
    """Return whether a job's trainer asks for more than one device."""
    try:
        trainer = RunRecord.read(folder).config["trainer"]
    except RunFolderError:  # The job will fail with it.
        return False
    return trainer.get("devices", "auto") not in (1, "1") or trainer.get("num_nodes", 1) != 1


def job_command(folder: Path) -> list[str]:
    """Return the words of the command that runs a job, whose output goes to its ``run.log``."""
    command = [sys.executable, str(project.current().train_file), run_override(folder)]
    # A handler for that log would write each line twice.
    return [*command, "hydra.job_logging.root.handlers=[console]"]


def start_job(
    folder: Path, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start ``python train.py run=FOLDER``, with its output in ``run.log``.

    Call it from the main thread: on Linux the job gets SIGTERM when the thread that started it
    ends, so that it writes a checkpoint and stops instead of being left behind.
    """
    inherited = {k: v for k, v in os.environ.items() if k not in RANK_VARIABLES}
    with (folder / "run.log").open("ab") as log:
        return subprocess.Popen(
            job_command(folder),
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**inherited, **(environment or {})},
            start_new_session=True,  # so that Ctrl-C reaches only us, who pass it on once
            preexec_fn=partial(_before_the_job, os.getpid()),
        )


def _before_the_job(parent: int) -> None:
    """Ignore, in the new process, signals that schedulers mean for the one that started it."""
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    end_with_parent(parent, signal.SIGTERM)


def end_job(job: subprocess.Popen[bytes]) -> JobReturn | None:
    """Return how a job ended, or None while it runs; kill what is left of one that failed."""
    status = job.poll()
    if status is None:
        return None
    if status != 0:  # Other ranks may wait for rank 0 for ever.
        _kill(job)
    return job_return(status)


@contextlib.contextmanager
def killed_on_error(jobs: Callable[[], Sequence[subprocess.Popen[bytes]]]) -> Iterator[None]:
    """If the block raises, kill every process in ``jobs()``.

    It goes around the block that stops jobs in order, since a second signal can raise in there.
    """
    try:
        yield
    except BaseException:
        for job in jobs():
            _kill(job)
        raise


def stop_jobs(jobs: Sequence[subprocess.Popen[bytes]]) -> None:
    """Ask jobs to write their checkpoints and end; wait for them."""
    for job in jobs:
        job.terminate()
    for job in jobs:
        _wait_for_end(job)


def _wait_for_end(job: subprocess.Popen[bytes]) -> None:
    """Wait until a job ends, or a signal's handler raises.

    A wait without a time limit would miss a signal that comes just before the system call, or that
    another thread receives: Python runs its handler only when the call returns.
    """
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            job.wait(timeout=1)
            return


def _kill(job: subprocess.Popen[bytes]) -> None:
    """Kill a job and all processes that it has started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # No process is left.
        os.killpg(job.pid, signal.SIGKILL)
    job.wait()


def run_to_its_end(folder: Path) -> JobReturn:
    """Start a job and wait for it; if waiting is interrupted, stop the job."""
    job = start_job(folder)
    with killed_on_error(lambda: [job]):
        try:
            _wait_for_end(job)
        except BaseException:
            stop_jobs([job])
            raise
    ended = end_job(job)
    assert ended is not None
    return ended


def run_apart(train_file: Path, config: DictConfig) -> None:
    """Run a job in a process of its own: the task function of launchers that are not ours.

    So a job is the same everywhere, its ranks get its own arguments, and the launcher's worker
    process stays as it is.

    Args:
        train_file: the project's ``train.py``, which a worker process cannot find by itself.

    Raises:
        ChildProcessError: the job failed or was killed.
    """
    project.use(train_file)
    job = start_job(Path(config.run))
    with killed_on_error(lambda: [job]):
        try:
            _wait_for_end(job)
        except BaseException:  # A scheduler may have sent its signal to the job too.
            with contextlib.suppress(subprocess.TimeoutExpired):
                job.wait(_GRACE)
            stop_jobs([job])
            raise
    if (error := end_job(job)) is not None and error.status is JobStatus.FAILED:
        raise error._return_value


def job_return(exit_status: int) -> JobReturn:
    """Return how a job ended, for Hydra, from the exit status of its process."""
    if exit_status == 0:
        return JobReturn(status=JobStatus.COMPLETED)
    if exit_status < 0:
        error: Exception = JobKilled(f"ended by {signal.Signals(-exit_status).name}")
    elif exit_status - 128 in STOP_SIGNALS:
        error = JobKilled(f"ended by exit status {exit_status}")
    else:
        error = ChildProcessError(f"ended by exit status {exit_status}")
    return JobReturn(status=JobStatus.FAILED, _return_value=error)
