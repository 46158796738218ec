"""How a sweeper names a job to a launcher: by its prepared run folder, and by nothing else."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus

from lab.cli import CONF
from lab.errors import ConfigError
from lab.record import RunRecord

# what a launcher of several processes leaves in the environment, and a job must not inherit
_RANK_VARIABLES = ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "RANK", "MASTER_ADDR", "MASTER_PORT")


def run_override(folder: Path) -> str:
    """``run=FOLDER`` in Hydra's grammar, whatever the folder's name holds."""
    escaped = str(folder.absolute()).replace("\\", "\\\\").replace("'", "\\'")
    return f"run='{escaped}'"


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

    On Linux the job gets SIGTERM when this process ends, however that happens: it then writes a
    checkpoint and stops, and is not left behind.
    """
    inherited = {k: v for k, v in os.environ.items() if k not in _RANK_VARIABLES}
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
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )


def run_to_its_end(folder: Path) -> JobReturn:
    """``start_job``, waited for; also when this process is told to stop, and passes that on."""
    job = start_job(folder)
    try:
        status = job.wait()
    except BaseException:
        job.terminate()
        job.wait()
        raise
    return job_return(status)


def job_return(exit_status: int) -> JobReturn:
    """What Hydra wants to know of a job that ran in a process of its own."""
    if exit_status == 0:
        return JobReturn(status=JobStatus.COMPLETED)
    name = signal.Signals(-exit_status).name if exit_status < 0 else f"exit status {exit_status}"
    return JobReturn(status=JobStatus.FAILED, _return_value=ChildProcessError(f"ended by {name}"))


def _end_with_parent() -> None:
    import ctypes

    set_parent_death_signal = 1  # PR_SET_PDEATHSIG of prctl(2)
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)
