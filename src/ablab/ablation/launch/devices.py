"""Find out how many processes and GPUs a job needs, without importing torch."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ablab.errors import ConfigError


@dataclass(frozen=True)
class Needs:
    """The processes of a job, and its GPUs: one for each process, or none."""

    processes: int
    gpus: int


def needs_of(trainer: Mapping[str, Any], n_gpus: int) -> Needs:
    """Return what ``trainer`` asks for where there are ``n_gpus`` GPUs.

    Raises:
        ConfigError: it asks for more than there is, or for GPUs by their numbers.
    """
    if trainer.get("num_nodes", 1) != 1:
        raise ConfigError(
            f"trainer.num_nodes: {trainer['num_nodes']} machines are asked for, but a job of a "
            f"plan runs on one"
        )
    accelerator = trainer.get("accelerator", "auto")
    on_gpus = accelerator in ("gpu", "cuda") or (accelerator == "auto" and n_gpus > 0)
    if sys.platform == "darwin" and n_gpus == 0:  # Apple's GPU is not handed out to jobs.
        on_gpus = False
    devices = trainer.get("devices", "auto")
    if devices in ("auto", -1, "-1"):
        count = max(n_gpus, 1) if on_gpus else 1
    elif isinstance(devices, int) or str(devices).isdigit():
        count = int(devices)
    else:
        raise ConfigError(
            f"trainer.devices: {devices} names devices, but the launcher chooses them; "
            f"give their number instead (trainer.devices=2)"
        )
    if on_gpus and count > n_gpus:
        raise ConfigError(
            f"trainer.devices: {count} GPUs are asked for, and there are {n_gpus} "
            f"(of CUDA_VISIBLE_DEVICES, nvidia-smi or Ray); trainer.accelerator=cpu needs none"
        )
    return Needs(count, count if on_gpus else 0)
