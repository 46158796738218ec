"""How a sweeper names a job to a launcher: by its prepared run folder, and by nothing else."""

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

from lab.errors import ConfigError
from lab.interruption import STOP_SIGNALS, end_with_parent
from lab.launched import RANK_VARIABLES
from lab.overrides import CONF, assignment
from lab.record import RunRecord

_GRACE = 10.0  # seconds; a job that is told twice stops without a checkpoint


class JobKilled(ChildProcessError):  # noqa: N818  # nothing is wrong with the job
    """A signal has ended a job, which goes on when it is run again."""


def run_override(folder: Path) -> str:
    """``run=FOLDER`` in Hydra's grammar, whatever the folder's name holds."""
    return assignment("run", str(folder.absolute()))


def folder_of(overrides: Sequence[str]) -> Path:
    """Raises ConfigError for a job that is not named by its folder."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    folders = [o.value() for o in parsed if o.key_or_group == "run"]
    if len(folders) != 1 or not isinstance(folders[0], str):
        raise ConfigError(
            "hydra/launcher: this one is for hydra/sweeper=ablation and optuna; "
            "for another sweeper add hydra/launcher=basic"
        )
    return Path(folders[0])


def needs_own_processes(folder: Path) -> bool:
    """Whether a job's trainer asks for more than one device."""
    trainer = RunRecord.read(folder).config["trainer"]
    return trainer.get("devices", "auto") not in (1, "1") or trainer.get("num_nodes", 1) != 1


def start_job(
    folder: Path, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """``python train.py run=FOLDER``, with all that it says in its ``run.log``.

    To be called from the main thread: on Linux the job gets SIGTERM when the thread that started it
    ends, however that happens; it then writes a checkpoint and stops, and is not left behind.
    """
    inherited = {k: v for k, v in os.environ.items() if k not in RANK_VARIABLES}
    command = [sys.executable, str(CONF.parent / "train.py"), run_override(folder)]
    with (folder / "run.log").open("ab") as log:
        return subprocess.Popen(
            # the log is the process's own output, so it is not written twice
            [*command, "hydra.job_logging.root.handlers=[console]"],
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**inherited, **(environment or {})},
            start_new_session=True,  # Ctrl-C reaches this process alone, which passes it on once
            preexec_fn=partial(_before_the_job, os.getpid()),
        )


def _before_the_job(parent: int) -> None:
    """In the new process: what schedulers send to all processes is for the one that started it."""
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    end_with_parent(parent, signal.SIGTERM)


def end_job(job: subprocess.Popen[bytes]) -> JobReturn | None:
    """How a job has ended, or None while it runs; of one that failed no process is left."""
    status = job.poll()
    if status is None:
        return None
    if status != 0:  # other ranks may wait for a rank 0 that is no more
        _kill(job)
    return job_return(status)


@contextlib.contextmanager
def killed_on_error(jobs: Callable[[], Sequence[subprocess.Popen[bytes]]]) -> Iterator[None]:
    """Of ``jobs()`` no process outlives a block that raises, and so none a process told twice.

    Around the block that stops them in order: a second signal can raise at any place in there.
    """
    try:
        yield
    except BaseException:
        for job in jobs():
            _kill(job)
        raise


def stop_jobs(jobs: Sequence[subprocess.Popen[bytes]]) -> None:
    """Ask jobs to write their checkpoints and end, and wait."""
    for job in jobs:
        job.terminate()
    for job in jobs:
        job.wait()


def _kill(job: subprocess.Popen[bytes]) -> None:
    """A job and all processes that it has started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # none is left
        os.killpg(job.pid, signal.SIGKILL)
    job.wait()


def run_to_its_end(folder: Path) -> JobReturn:
    """``start_job``, waited for; if this process is told to stop, the job is too."""
    job = start_job(folder)
    with killed_on_error(lambda: [job]):
        try:
            job.wait()
        except BaseException:
            stop_jobs([job])
            raise
    ended = end_job(job)
    assert ended is not None
    return ended


def run_apart(config: DictConfig) -> None:
    """What a launcher that is not ours calls for each job, wherever it does: the job's own command.

    So a job is the same everywhere, its ranks are started with its own arguments, and a worker
    process is left as it was.

    Raises:
        ChildProcessError: the job has not come to a good end.
    """
    job = start_job(Path(config.run))
    with killed_on_error(lambda: [job]):
        try:
            job.wait()
        except BaseException:  # a scheduler that stops us may have told the job already
            with contextlib.suppress(subprocess.TimeoutExpired):
                job.wait(_GRACE)
            stop_jobs([job])
            raise
    if (error := end_job(job)) is not None and error.status is JobStatus.FAILED:
        raise error._return_value


def job_return(exit_status: int) -> JobReturn:
    """What Hydra wants to know of a job that ran in a process of its own."""
    if exit_status == 0:
        return JobReturn(status=JobStatus.COMPLETED)
    if exit_status < 0:
        error: Exception = JobKilled(f"ended by {signal.Signals(-exit_status).name}")
    elif exit_status - 128 in STOP_SIGNALS:
        error = JobKilled(f"ended by exit status {exit_status}")
    else:
        error = ChildProcessError(f"ended by exit status {exit_status}")
    return JobReturn(status=JobStatus.FAILED, _return_value=error)
