"""Stand-ins for SLURM's commands: they keep the batch script, and run its tasks on this machine."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

_SRUN = """#!/bin/bash
while [[ "$1" == -* ]]; do
  case "$1" in --output|--error) shift 2;; *) shift;; esac
done
exec "$@"
"""

_OF_A_TASK = {
    "SLURM_JOB_NAME": "plan",
    "SLURM_JOB_NUM_NODES": "1",
    "SLURM_LOCALID": "0",
    "SLURM_NNODES": "1",
    "SLURM_NODEID": "0",
    "SLURM_NTASKS": "1",
    "SLURM_NTASKS_PER_NODE": "1",
    "SLURM_PROCID": "0",
}


def install(folder: Path) -> None:
    """Puts sbatch, srun and sacct into ``folder``; the batch script will be ``folder/script``."""
    folder.mkdir()
    commands = {
        "sbatch": f'#!/bin/sh\nexec {sys.executable} {__file__} {folder} "$@"\n',
        "srun": _SRUN,
        "sacct": "#!/bin/sh\necho 'JobID|State|NodeList'\n",
    }
    for name, text in commands.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)


def submit(folder: Path, script: Path) -> None:
    """What sbatch does, without waiting for a turn."""
    kept = folder / "script"
    shutil.copy(script, kept)
    array = re.search(r"--array=0-(\d+)", kept.read_text())
    for task in range(int(array[1]) + 1 if array else 1):
        variables = {"SLURM_JOB_ID": str(1000 + task), **_OF_A_TASK}
        if array:
            variables |= {"SLURM_ARRAY_JOB_ID": "1000", "SLURM_ARRAY_TASK_ID": str(task)}
        subprocess.Popen(
            ["bash", str(kept)],
            env={**os.environ, **variables},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    print("Submitted batch job 1000")


if __name__ == "__main__":
    submit(Path(sys.argv[1]), Path(sys.argv[-1]))
