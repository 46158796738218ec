"""What has ended a fit: its own error, or what has happened to another of its processes."""

import os
from pathlib import Path
from typing import Any, NoReturn

import torch

from lab.checkpoint import Manifest
from lab.config.check import first_line
from lab.errors import TrainingError, UserError
from lab.interruption import Interruption
from lab.ranks import as_lost_rank, hand_over, take_over


def raise_cause(
    error: BaseException, launchers: list[Any], interruption: Interruption, folder: Path
) -> NoReturn:
    """Raises what ``error``, with which a fit has ended, may be a consequence of.

    Args:
        launchers: Lightning's, of the fits of this process so far.
    """
    distributed = torch.distributed
    if isinstance(error, distributed.DistError) and not distributed.is_initialized():
        raise UserError(
            f"the processes of this run could not meet at {os.environ.get('MASTER_ADDR')}:"
            f"{os.environ.get('MASTER_PORT')}: {first_line(error)}"
        ) from error
    lost = as_lost_rank(error, take_over(launchers))
    if lost is not None:
        if lost.word is None:  # killed, or told to stop by the signal that this process has got
            interruption.raise_if_requested()
        raise lost from error
    if isinstance(error, Exception):
        hand_over(error)
    if isinstance(error, TrainingError):
        raise TrainingError(f"{error}\n{_left_behind(folder)}") from error
    raise error


def _left_behind(folder: Path) -> str:
    newest = Manifest(folder / "checkpoints").newest_that_verifies()
    if newest is None:
        return "there is no checkpoint yet"
    return f"the last checkpoint is finite: {folder / 'checkpoints' / newest.file}"
