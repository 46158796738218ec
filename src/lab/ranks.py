"""The processes of one run: which this one is, and what they tell each other."""

import contextlib
import json
import os
import signal
import subprocess
import traceback
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.lsf import LSFEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.utilities import rank_zero_only

from lab.errors import RankError
from lab.interruption import end_with_parent
from lab.launched import MAIN_PROCESS


def is_main_process() -> bool:
    """Rank 0; also before the processes of a run know each other (Lightning reads the launcher's
    environment when it is imported)."""
    return getattr(rank_zero_only, "rank", 0) == 0


def launched_by() -> ClusterEnvironment:
    """Return Lightning's view of the launcher whose variables ``settle_ranks`` has kept.

    Lightning's own guess takes SLURM's variables for its ranks wherever they come from.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return TorchElasticEnvironment()
    if "SLURM_PROCID" in os.environ:
        return SLURMEnvironment(auto_requeue=False)
    if "JSM_NAMESPACE_RANK" in os.environ:
        return LSFEnvironment()
    return LightningEnvironment()


def end_with_launcher() -> None:
    """On Linux, have this process end when the one ends that has started it for this run.

    Rank 0 is asked to, and writes its record; the others are of no use without it and may wait in
    a place where they can be asked nothing.
    """
    if MAIN_PROCESS in os.environ:
        end_with_parent(int(os.environ[MAIN_PROCESS]), signal.SIGKILL)
    elif not launched_by().creates_processes_externally:
        return
    elif not is_main_process():
        end_with_parent(os.getppid(), signal.SIGKILL)
    elif "TORCHELASTIC_RUN_ID" in os.environ:
        end_with_parent(os.getppid(), signal.SIGTERM)


def gathered(values: list[float]) -> list[list[float]]:
    """``values`` of every rank, by rank; all have as many, and call it together."""
    distributed = torch.distributed
    if not distributed.is_initialized():
        return [values]
    device = torch.get_default_device()
    if distributed.get_backend() == "nccl":
        device = torch.device("cuda", torch.cuda.current_device())
    own = torch.tensor(values, dtype=torch.float64, device=device)
    everyone = [torch.empty_like(own) for _ in range(distributed.get_world_size())]
    distributed.all_gather(everyone, own)
    return [t.tolist() for t in everyone]


_FAILURE = "lab/failure"  # in the store through which the ranks have met


def hand_over(error: BaseException) -> None:
    """Leave word for the others of why this rank ends; the first one's word stays."""
    if not torch.distributed.is_initialized():
        return
    word = {
        "rank": torch.distributed.get_rank(),
        "type": type(error).__name__,
        "message": str(error),
        "traceback": "".join(traceback.format_exception(error)),
    }
    with contextlib.suppress(RuntimeError):  # rank 0, which keeps it, may have ended before
        _store().compare_set(_FAILURE, "", json.dumps(word))


def take_over(launchers: Iterable[Any]) -> list[subprocess.Popen[Any]]:
    """The processes of ranks 1, 2, … that Lightning's launchers have started, if they have any.

    From here on they are not watched any more: when one ends, Lightning's observer kills this
    process, which may be writing the record of what has happened.
    """
    taken = []
    for launcher in launchers:
        processes = getattr(launcher, "procs", [])
        taken += processes
        processes.clear()  # the observer has the same list
    return taken


def as_lost_rank(error: BaseException, processes: list[subprocess.Popen[Any]]) -> RankError | None:
    """What has happened to another rank, if that is why a collective operation has failed here.

    Args:
        error: what this rank has met.
        processes: of the ranks from 1 on, as far as this one has started them.
    """
    if not isinstance(error, RuntimeError) or not torch.distributed.is_initialized():
        return None
    if not isinstance(error, torch.distributed.DistError) and "gloo" not in str(error):
        return None
    with contextlib.suppress(RuntimeError):
        store = _store()
        if store.check([_FAILURE]):
            word = json.loads(store.get(_FAILURE))
            return RankError(f"rank {word['rank']} failed: {word['type']}: {word['message']}", word)
    for rank, process in enumerate(processes, 1):
        with contextlib.suppress(subprocess.TimeoutExpired):
            if status := process.wait(timeout=1):
                how = (
                    f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
                )
                return RankError(f"rank {rank} was ended {how}, without a word")
    return RankError("another rank has died without a word; what started it may say more")


def _store() -> Any:
    """A connection of its own: that of the process group is nobody else's to use."""
    return torch.distributed.TCPStore(  # pyright: ignore[reportPrivateImportUsage]
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        timeout=timedelta(seconds=5),
    )
