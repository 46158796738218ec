"""What a launcher of several processes leaves in the environment."""

import os

# What torchrun, SLURM, LSF or Lightning leave in the environment of a rank's process.
RANK_VARIABLES = (
    *("RANK", "LOCAL_RANK", "GROUP_RANK", "NODE_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"),
    *("MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID"),
    *("SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID"),
    "JSM_NAMESPACE_RANK",
)


_RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")  # in Lightning's order


def rank_of_environment() -> int:
    """Which process of its run this one is, by what its launcher says; 0 where there is one."""
    ranks = [os.environ[name] for name in _RANKS if name in os.environ]
    return int(ranks[0]) if ranks else 0
