"""Decide which process of its run this one is, from its config and what a launcher has set.

It is decided once, when Hydra has composed the config and before torch and Lightning are imported:
both read the launcher's variables as they find them. What is left in the environment afterwards are
the variables of the launcher that has started this run's processes, and no others.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ablab.errors import ConfigError, RankVariableError
from ablab.training.machine import gpus_here

# What torchrun, SLURM, LSF or Lightning leave in the environment of a rank's process.
RANK_VARIABLES = (
    *("RANK", "LOCAL_RANK", "GROUP_RANK", "NODE_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"),
    *("MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_USE_AGENT_STORE"),
    *("SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID"),
    *("JSM_NAMESPACE_RANK", "JSM_NAMESPACE_SIZE", "JSM_NAMESPACE_LOCAL_RANK"),
    "ABLAB_MAIN_PROCESS",
)
# The id of the process that starts a run's others through Lightning.
MAIN_PROCESS = "ABLAB_MAIN_PROCESS"
_RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")  # in Lightning's order
_PORTS = range(1, 2**16)
_UNSET = "unset the variables of ranks to have the processes of this run started here"


@dataclass(frozen=True)
class _Launcher:
    """A program that starts all processes of a run, and how it tells each which one it is."""

    name: str
    rank: str
    size: str
    others: tuple[str, ...]


_LAUNCHERS = {  # by the variable that shows that it was there
    "TORCHELASTIC_RUN_ID": _Launcher("torchrun", "RANK", "WORLD_SIZE", ("LOCAL_RANK",)),
    "SLURM_PROCID": _Launcher(
        "srun", "SLURM_PROCID", "SLURM_NTASKS", ("SLURM_LOCALID", "SLURM_NODEID")
    ),
    "JSM_NAMESPACE_RANK": _Launcher(
        "jsrun", "JSM_NAMESPACE_RANK", "JSM_NAMESPACE_SIZE", ("JSM_NAMESPACE_LOCAL_RANK",)
    ),
}


def rank_of_environment() -> int:
    """Return the number of this process among those of its run; 0 where there is only one."""
    for name in _RANKS:
        if name in os.environ:
            return max(_number(name) or 0, 0)
    return 0


def forget_ranks() -> None:
    """Remove a launcher's variables, for what is one process however it was started.

    Raises:
        ConfigError: torchrun has started several, which would all do the same.
    """
    started = _number("WORLD_SIZE") or 1
    if "TORCHELASTIC_RUN_ID" in os.environ and started > 1:
        raise ConfigError(
            f"trainer.devices: torchrun has started {started} processes, but one is asked for, and "
            f"each would do the same; for one run of them all add trainer=ddp "
            f"trainer.devices={started}, else leave out torchrun (or unset TORCHELASTIC_RUN_ID)"
        )
    _keep(())


def settle_ranks(trainer: Mapping[str, Any]) -> None:
    """Leave in the environment what tells this process its rank in a run with this trainer.

    A run of one process is nobody's rank, whatever surrounds it. For one of several, a launcher's
    variables have to be complete and of as many processes as the config asks for.

    Raises:
        ConfigError: they are of another number, or nothing says where the other machines are.
        RankVariableError: they are not complete.
    """
    nodes = trainer.get("num_nodes", 1)
    if not isinstance(nodes, int) or nodes < 1:  # the check of the config refuses it
        nodes = 1
    if nodes == 1 and not any(name in os.environ for name in RANK_VARIABLES):
        return
    devices = _devices(trainer)
    size = devices * nodes
    if size == 1:
        forget_ranks()
        return
    launcher = next((each for mark, each in _LAUNCHERS.items() if mark in os.environ), None)
    if launcher is not None and not _is_left_over(launcher):
        _keep(_variables_of(launcher, size, devices))
    elif "LOCAL_RANK" in os.environ:
        _keep(_variables_by_hand(devices, nodes))
    elif nodes > 1:
        _keep(_variables_of_a_machine(devices, nodes))
    elif "RANK" in os.environ:
        raise RankVariableError(
            f"RANK: is {os.environ['RANK']!r} in the environment, but LOCAL_RANK is not set, and a "
            f"rank needs both; {_UNSET}"
        )
    else:
        _keep(())


def _is_left_over(launcher: _Launcher) -> bool:
    """Return whether srun started one task or a shell, where a run starts its own processes."""
    if launcher.name != "srun":
        return False
    in_a_shell = os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive")  # as Lightning has it
    return in_a_shell or os.environ.get(launcher.size, "1") == "1"


def _variables_of(launcher: _Launcher, size: int, devices: int) -> tuple[str, ...]:
    started = _number(launcher.size)
    if started != size:
        raise ConfigError(
            f"trainer.devices: {launcher.name} has started {os.environ.get(launcher.size, 'no')} "
            f"processes ({launcher.size}), but trainer.devices × trainer.num_nodes is {size}; "
            f"make them equal"
        )
    where = f"under {launcher.name}"
    for name in (launcher.rank, *launcher.others):
        _require(name, range(size), where)
    own = (launcher.rank, launcher.size, *launcher.others)
    if launcher.name == "srun":
        _require("SLURM_NTASKS_PER_NODE", range(devices, devices + 1), where)
    if launcher.name == "torchrun" or "MASTER_PORT" in os.environ:
        _require("MASTER_PORT", _PORTS, where)
    if launcher.name == "torchrun":
        own = (*own, "GROUP_RANK", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RUN_ID")
        own = (*own, "TORCHELASTIC_USE_AGENT_STORE")
    return (*own, "MASTER_ADDR", "MASTER_PORT")


def _variables_by_hand(devices: int, nodes: int) -> tuple[str, ...]:
    """Return the names of the variables of a process that Lightning or a person started."""
    where = "where LOCAL_RANK is set"
    local = _require("LOCAL_RANK", range(devices), where)
    node = _node(nodes, where)
    _require("WORLD_SIZE", range(devices * nodes, devices * nodes + 1), where)
    _require("MASTER_PORT", _PORTS, where)
    os.environ["RANK"] = str(node * devices + local)
    own = ("RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    return (*own, MAIN_PROCESS)


def _variables_of_a_machine(devices: int, nodes: int) -> tuple[str, ...]:
    """Return the names for a machine's first process, which starts the others there."""
    lacking = [n for n in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK") if not os.environ.get(n)]
    if lacking:
        raise ConfigError(
            f"trainer.num_nodes: {nodes} machines are asked for, but nothing says how they meet "
            f"({', '.join(lacking)} not set); start the run with srun or torchrun on all of them, "
            f"or set these in the environment on each"
        )
    where = "in a run on several machines"
    _require("MASTER_PORT", _PORTS, where)
    # Without it Lightning would take each for the first.
    os.environ["RANK"] = str(_node(nodes, where) * devices)
    return ("RANK", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT")


def _node(nodes: int, where: str) -> int:
    if "NODE_RANK" not in os.environ:
        os.environ["NODE_RANK"] = os.environ.get("GROUP_RANK", "0")
    return _require("NODE_RANK", range(nodes), where)


def _require(name: str, allowed: range, where: str) -> int:
    value = _number(name)
    if value is None or value not in allowed:
        known = f"is {os.environ[name]!r}" if name in os.environ else "is not set"
        ends = str(allowed[0]) if len(allowed) == 1 else f"from {allowed[0]} to {allowed[-1]}"
        raise RankVariableError(
            f"{name}: should be {ends} {where} (it {known} in the environment); set it, or {_UNSET}"
        )
    return value


def _number(name: str) -> int | None:
    try:
        return int(os.environ[name])
    except (KeyError, ValueError):
        return None


def _keep(names: tuple[str, ...]) -> None:
    for name in RANK_VARIABLES:
        if name not in names:
            os.environ.pop(name, None)


def _devices(trainer: Mapping[str, Any]) -> int:
    """Return the number of processes for each machine; 1 for what the config's check refuses."""
    devices = trainer.get("devices", "auto")
    if isinstance(devices, str) and devices.lstrip("-").isdigit():
        devices = int(devices)
    if devices in ("auto", -1):
        on_gpus = trainer.get("accelerator", "auto") in ("auto", "gpu", "cuda")
        return max(1, len(gpus_here())) if on_gpus else 1
    if isinstance(devices, str):
        devices = [device for device in devices.split(",") if device.strip()]
    if isinstance(devices, list):
        return max(1, len(devices))
    return max(1, devices) if isinstance(devices, int) else 1
