"""The GPUs and CPU cores of this machine, found without importing torch."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping


def gpus_here(environment: Mapping[str, str] = os.environ) -> list[str]:
    """The GPUs that may be used, as CUDA_VISIBLE_DEVICES names them; else those of nvidia-smi."""
    if (visible := environment.get("CUDA_VISIBLE_DEVICES")) is not None:
        named = [name.strip() for name in visible.split(",")]
        return [name for name in named if name not in ("", "-1")]
    if (program := shutil.which("nvidia-smi")) is None:
        return []
    command = [program, "--query-gpu=index", "--format=csv,noheader"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):  # a driver that does not answer has no GPUs
        return []
    return listed.stdout.split()


def cores_here() -> int:
    """CPU cores that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
