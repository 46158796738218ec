"""The processes of one run: which one this is, and how they share values and failures."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.lsf import LSFEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.utilities import rank_zero_only

from ablab.errors import (
    ConfigError,
    RankError,
    SilentRankError,
    TrainingError,
    UserError,
    first_line,
)
from ablab.runs.checkpoints import Manifest
from ablab.safety.printable import relative
from ablab.safety.signals import Interruption, end_with_parent
from ablab.training.launched import MAIN_PROCESS

# gloo's words, of the operation that has waited too long and of the others that wait with it.
_OUT_OF_TIME = re.compile(r"Timed out waiting \d+ms|Application timeout caused pair closure")
_PATIENCE = 20.0  # seconds for rank 0 to end a run in which a process does not answer


def is_main_process() -> bool:
    """Return whether this is rank 0; known as soon as Lightning has been imported."""
    return getattr(rank_zero_only, "rank", 0) == 0


def launched_by() -> ClusterEnvironment:
    """Return Lightning's description of the launcher whose variables ``settle_ranks`` has kept.

    Lightning's own guess would take any variables of SLURM for those of this run's ranks.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return TorchElasticEnvironment()
    if "SLURM_PROCID" in os.environ:
        return SLURMEnvironment(auto_requeue=False)
    if "JSM_NAMESPACE_RANK" in os.environ:
        return LSFEnvironment()
    return LightningEnvironment()


def end_with_launcher() -> None:
    """Make this process end when the process that started it ends (on Linux).

    Rank 0 gets SIGTERM, so that it writes its record. The other ranks are killed: without rank 0
    they would wait forever, in a place where no signal handler runs.
    """
    if MAIN_PROCESS in os.environ:
        end_with_parent(int(os.environ[MAIN_PROCESS]), signal.SIGKILL)
    elif not launched_by().creates_processes_externally:
        return
    elif not is_main_process():
        end_with_parent(os.getppid(), signal.SIGKILL)
    elif "TORCHELASTIC_RUN_ID" in os.environ:
        end_with_parent(os.getppid(), signal.SIGTERM)


def gather(values: list[float]) -> list[list[float]]:
    """Return the ``values`` of every rank, in the order of ranks.

    All ranks call it together, with equally many values.
    """
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


def gather_objects(own: Any) -> list[Any]:
    """Return the ``own`` of every rank, in the order of ranks; its tensors are on the CPU.

    All ranks call it together.
    """
    distributed = torch.distributed
    if not distributed.is_initialized():
        return [own]
    everyone: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(everyone, own)
    return everyone


_FAILURE = "ablab/failure"  # a key of the store through which the ranks have met


def publish_failure(error: BaseException) -> None:
    """Publish why this rank failed; the first message wins."""
    if not torch.distributed.is_initialized():
        return
    word = {
        "rank": torch.distributed.get_rank(),
        "type": type(error).__name__,
        "message": str(error),
        "traceback": "".join(traceback.format_exception(error)),
    }
    with contextlib.suppress(RuntimeError):  # rank 0, which holds the store, may have ended already
        _store().compare_set(_FAILURE, "", json.dumps(word))


def take_processes(launchers: Iterable[Any]) -> list[subprocess.Popen[Any]]:
    """Return the processes of ranks 1, 2, … that Lightning's launchers have started.

    Lightning stops watching them: otherwise it would kill this process as soon as one of them ends,
    perhaps while the record of the failure is being written.
    """
    taken = []
    for launcher in launchers:
        processes = getattr(launcher, "procs", [])
        taken += processes
        processes.clear()  # Lightning's observer holds the same list
    return taken


def lost_rank_error(
    error: BaseException, processes: list[subprocess.Popen[Any]]
) -> RankError | None:
    """Return the failure of another rank if it is the cause of ``error``, else None.

    Args:
        error: raised on this rank, perhaps by a collective operation that another rank left.
        processes: those of ranks 1, 2, … that this process has started.
    """
    if not isinstance(error, RuntimeError) or not torch.distributed.is_initialized():
        return None
    if _OUT_OF_TIME.search(str(error)):  # no store may answer
        return SilentRankError(
            "another process of this run did not answer within trainer.strategy.timeout_s seconds: "
            "it is stopped, hangs, or cannot be reached"
        )
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
                return RankError(f"rank {rank} ended {how} and left no message")
    return RankError(
        "another rank ended and left no message; the output of its launcher may say why"
    )


def _store() -> Any:
    """Return a connection to the ranks' store; the process group does not share its own."""
    return torch.distributed.TCPStore(  # pyright: ignore[reportPrivateImportUsage]
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        timeout=timedelta(seconds=5),
    )


def raise_cause(
    error: BaseException, launchers: list[Any], interruption: Interruption, folder: Path
) -> NoReturn:
    """Raise the root cause of ``error``: another rank's failure if there is one, else ``error``.

    Args:
        launchers: Lightning's launchers of this process's fits so far.
    """
    distributed = torch.distributed
    if isinstance(error, distributed.DistError) and not distributed.is_initialized():
        raise UserError(
            f"the processes of this run could not meet at {os.environ.get('MASTER_ADDR')}:"
            f"{os.environ.get('MASTER_PORT')}: {first_line(error)}"
        ) from error
    if "parameters that were not used in producing the loss" in str(error):  # all ranks say so
        raise ConfigError(
            "trainer.strategy: a loss of this model does not use all parameters that are trained; "
            "add trainer.strategy.find_unused_parameters=true to trainer=ddp"
        ) from error
    lost = lost_rank_error(error, take_processes(launchers))
    if lost is not None:
        if lost.word is None:  # it was killed, or stopped by the signal that this process got too
            interruption.raise_if_requested()
        if isinstance(lost, SilentRankError) and not is_main_process():
            _end_silent_main_process(lost)
        raise lost from error
    if isinstance(error, Exception):
        publish_failure(error)
    if isinstance(error, TrainingError):
        raise TrainingError(f"{error}\n{_last_checkpoint(folder)}") from error
    raise error


def leave_group(launchers: list[Any], interruption: Interruption, folder: Path) -> None:
    """Wait for the other ranks, and end what connects them; without other ranks, do nothing.

    Args and raises: as ``raise_cause``.
    """
    if not torch.distributed.is_initialized():
        return
    try:
        torch.distributed.barrier()
    except BaseException as error:
        raise_cause(error, launchers, interruption, folder)
    torch.distributed.destroy_process_group()


def _end_silent_main_process(error: SilentRankError) -> None:
    """Give rank 0 the time to end the run; if it does not, it is the one that stands still.

    This process ends with rank 0, or by its launcher, while it waits.
    """
    time.sleep(_PATIENCE)
    print(f"error: {error}", file=sys.stderr)  # noqa: T201
    if os.environ.get(MAIN_PROCESS) == str(os.getppid()):
        os.kill(os.getppid(), signal.SIGKILL)


def _last_checkpoint(folder: Path) -> str:
    newest = Manifest(folder / "checkpoints").newest_that_verifies()
    if newest is None:
        return "there is no checkpoint yet"
    return f"the last checkpoint is finite: {relative(folder / 'checkpoints' / newest.file)}"
