"""Put jobs into SLURM's queue, and ask for them: sbatch, squeue and scontrol, without accounting.

A job's comment is its run folder, so that any sweep knows the jobs of an earlier one.
"""

import os
import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablab.ablation.launch.launch import job_command
from ablab.ablation.launch.slurm_settings import SlurmSettings
from ablab.errors import ConfigError, UserError
from ablab.runs.record import RunRecord
from ablab.training.launched import RANK_VARIABLES

# SLURM signals the shell alone (B:), which passes the signal on once; a second one would stop the
# run without a checkpoint. A run that has no handlers yet dies of it, with the same exit status; a
# process that the shell has just forked would lose it, so the shell waits for a second.
# SIGTERM comes to every process: the shell has to outlive the run, or SLURM would kill that.
# A line of setup may have set options of the shell, with which the rest could end too early.
_SCRIPT = """\
#!/bin/bash
trap 'sleep 1; kill -USR1 ${{job:-none}} 2> /dev/null || early=1' USR1
trap : TERM
export OMP_NUM_THREADS=${{OMP_NUM_THREADS:-{threads}}}
{setup}
set +eu
{command} &
job=$!
if [ "$early" ]; then sleep 1; kill -USR1 $job; fi
until wait $job; ! kill -0 $job 2> /dev/null; do :; done
wait $job
status=$?
if [ $status -eq 138 ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt {restarts} ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit $status
"""
_SETUP_LINE = """\
eval {line} || {{
  status=$?
  echo "hydra.launcher.setup: exit status $status of:" {line}
  exit $status
}}
"""
_QUEUED = ("PENDING", "CONFIGURING", "RUNNING", "SUSPENDED", "REQUEUED", "REQUEUE_HOLD")
# Variables with which sbatch would not queue one job here; those of squeue would hide jobs.
_DROPPED = (*RANK_VARIABLES, "SBATCH_CLUSTERS", "SBATCH_ARRAY_INX", "SBATCH_WAIT")
_PATIENCE = 60.0  # seconds for one of SLURM's commands to answer


class SlurmError(UserError):
    """SLURM did not do what it was asked, with its own words."""


@dataclass(frozen=True)
class SlurmJob:
    """A job in the queue; ``reason``: why it waits."""

    number: str
    state: str
    reason: str


@dataclass(frozen=True)
class Ended:
    """The end of a job that squeue does not show; SLURM remembers it for some minutes."""

    state: str
    exit_code: str
    restarts: int

    @property
    def is_there(self) -> bool:
        """Return whether the job has not ended, whatever squeue shows."""
        return self.state in _QUEUED

    @property
    def goes_on(self) -> bool:
        """Return whether SLURM stopped the job and has not queued it again."""
        was_signalled = self.exit_code in ("0:10", "138:0")  # by SIGUSR1, perhaps while starting
        return was_signalled or self.state in ("TIMEOUT", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL")

    def __str__(self) -> str:
        code = f" with exit code {self.exit_code}" if self.state == "FAILED" else ""
        return f"{self.state}{code}"


class SlurmQueue:
    """SLURM's queue, as its commands show it."""

    def __init__(self, settings: SlurmSettings) -> None:
        self.settings = settings

    def submit(self, folder: Path, restarts: int) -> str:
        """Queue the job of a run folder, and return its number; raise SlurmError if refused.

        Args:
            restarts: how often the job may queue itself again.
        """
        trainer = RunRecord.read(folder).config["trainer"]
        script = self._script(folder, trainer, restarts)
        told = _call("sbatch", "--parsable", *self._flags(folder, trainer), script=script)
        if (number := re.search(r"^(\d+)(;|$)", told, re.MULTILINE)) is None:
            raise SlurmError(f"sbatch: it has printed no job number, but {told!r}")
        return number[1]

    def jobs(self) -> dict[Path, SlurmJob]:
        """Return this user's jobs by their run folders; raise SlurmError if SLURM is silent."""
        shown = _call("squeue", "--me", "--all", "--noheader", "--format=%A|%T|%r|%k")
        lines = (line.split("|", 3) for line in shown.split("\n"))
        found = (line for line in lines if len(line) == 4)  # others are banners, or of other jobs
        return {Path(comment): SlurmJob(*about) for *about, comment in found}

    def ended(self, number: str) -> Ended | None:
        """Return how a job ended, or None if SLURM has forgotten it."""
        try:
            told = _call("scontrol", "show", "job", number, "--oneliner", "--all")
            values = dict(re.findall(r"\b(JobState|ExitCode|Restarts)=(\S+)", told))
            return Ended(values["JobState"], values["ExitCode"], int(values["Restarts"]))
        except (SlurmError, KeyError):
            return None

    def _flags(self, folder: Path, trainer: dict[str, Any]) -> list[str]:
        own = self.settings
        flags: dict[str, Any] = {
            "job-name": own.name,
            "output": str(folder.absolute() / "run.log").replace("%", "%%"),
            "open-mode": "append",
            "nodes": 1,
            "ntasks": 1,
            "cpus-per-task": own.cpus_per_task,
            "gpus-per-node": _gpus(trainer) if own.gpus_per_node == "auto" else own.gpus_per_node,
            "mem": own.mem_gb and f"{max(1, round(own.mem_gb * 1024))}M",  # 0 is the whole node
            "time": own.timeout_min,
            "signal": f"B:USR1@{own.signal_delay_s}",
            "requeue": True,
            "partition": own.partition,
            "qos": own.qos,
            "account": own.account,
            "constraint": own.constraint,
            **(own.additional_parameters or {}),
            "comment": folder.absolute(),
        }
        if flags["gpus-per-node"] == 0:
            del flags["gpus-per-node"]
        written = {k: v for k, v in flags.items() if v is not None and v is not False}
        return [
            f"--{key}" if value is True else f"--{key}={value}" for key, value in written.items()
        ]

    def _script(self, folder: Path, trainer: dict[str, Any], restarts: int) -> str:
        return _SCRIPT.format(
            threads=max(1, self.settings.cpus_per_task // _processes(trainer)),
            setup="".join(
                _SETUP_LINE.format(line=shlex.quote(line)) for line in self.settings.setup or ()
            ),
            command=shlex.join(job_command(folder)),
            restarts=restarts,
        )


def _processes(trainer: dict[str, Any]) -> int:
    devices = str(trainer.get("devices", "auto"))
    return max(1, int(devices)) if devices.isdigit() else 1


def _gpus(trainer: dict[str, Any]) -> int:
    return 0 if trainer.get("accelerator", "auto") == "cpu" else _processes(trainer)


def _call(*command: str, script: str | None = None) -> str:
    """Run one of SLURM's commands, and return what it prints; raise SlurmError if it fails."""
    kept = {k: v for k, v in os.environ.items() if k not in _DROPPED and k[:7] != "SQUEUE_"}
    try:
        done = subprocess.run(
            command,
            input=script,
            capture_output=True,
            text=True,
            errors="surrogateescape",  # as in paths, which comments are
            timeout=_PATIENCE,
            env=kept,
            start_new_session=True,  # Ctrl-C is for the sweep
        )
    except FileNotFoundError:
        raise ConfigError(
            f"hydra/launcher=slurm: {command[0]} is not installed here; start the sweep where "
            f"SLURM's commands are, such as a login node"
        ) from None
    except subprocess.TimeoutExpired:
        raise SlurmError(f"{command[0]} has not answered for {_PATIENCE:.0f} s") from None
    if done.returncode != 0:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        told = "; ".join(dict.fromkeys(lines)) or f"exit status {done.returncode}"
        raise SlurmError(told if told.startswith(command[0]) else f"{command[0]}: {told}")
    return done.stdout.strip()
