"""Callbacks that do to a run what the world does to runs."""

import logging
import os
import signal
import subprocess
import time
import warnings
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class SignalAt(Callback):
    """The process, or that of ``rank`` alone, gets ``number`` when ``step`` optimiser steps are
    done; with a flag file, only once."""

    def __init__(
        self,
        step: int,
        number: int = signal.SIGTERM,
        rank: int | None = None,
        flag: str | None = None,
    ) -> None:
        self.step, self.number, self.rank, self.flag = step, number, rank, flag

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        here = pl_module.total_steps == self.step and self.rank in (None, trainer.global_rank)
        if here and _is_due(self.flag):
            os.kill(os.getpid(), self.number)


class CrashAt(Callback):
    """The run, or its ``rank`` alone, fails when ``step`` optimiser steps are done; with a flag
    file, only once."""

    def __init__(self, step: int, flag: str | None = None, rank: int | None = None) -> None:
        self.step, self.flag, self.rank = step, flag, rank

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        here = pl_module.total_steps == self.step and self.rank in (None, trainer.global_rank)
        if here and _is_due(self.flag):
            raise ValueError("the data went bad")


def _is_due(flag: str | None) -> bool:
    """Once, where there is a flag file to remember it by."""
    if flag is None:
        return True
    due = not Path(flag).exists()
    Path(flag).touch()
    return due


class ShellAt(Callback):
    """Something happens to the machine when ``step`` optimiser steps are done, or more."""

    def __init__(self, step: int, command: str) -> None:
        self.step, self.command = step, command

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if pl_module.total_steps >= self.step:
            subprocess.run(self.command, shell=True, stderr=subprocess.DEVNULL)


class StuckAt(Callback):
    """From ``step`` optimiser steps on the run does nothing, and does not listen to signals."""

    def __init__(self, step: int, flag: str) -> None:
        self.step, self.flag = step, flag

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if pl_module.total_steps == self.step:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)
            Path(self.flag).touch()
            time.sleep(600)


class Slow(Callback):
    """Each step takes ``seconds`` more."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def on_train_batch_end(self, *_: Any) -> None:
        time.sleep(self.seconds)


class Talkative(Callback):
    """Prints, logs and warns at the end of each training batch."""

    def on_train_batch_end(self, *_: Any) -> None:
        print("printed by a callback")
        logging.getLogger(__name__).info("logged by a callback")
        warnings.warn("warned by a callback", stacklevel=1)
