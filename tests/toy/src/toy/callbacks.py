"""Callbacks that interrupt, break, block, slow or comment a run."""

import logging
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer


class SignalAt(Callback):
    """Send ``number`` to the process after ``step`` optimiser steps.

    Args:
        rank: the only rank that sends it to itself; None means every rank.
        flag: a file that the first signal creates; where it exists, none is sent.
    """

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
        step = getattr(pl_module, "total_steps", trainer.global_step)
        here = step == self.step and self.rank in (None, trainer.global_rank)
        if here and _is_due(self.flag):
            os.kill(os.getpid(), self.number)


class CrashAt(Callback):
    """Raise ValueError after ``step`` optimiser steps; ``flag`` and ``rank`` as in SignalAt."""

    def __init__(self, step: int, flag: str | None = None, rank: int | None = None) -> None:
        self.step, self.flag, self.rank = step, flag, rank

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        here = pl_module.total_steps == self.step and self.rank in (None, trainer.global_rank)
        if here and _is_due(self.flag):
            raise ValueError("the data went bad")


def _is_due(flag: str | None) -> bool:
    """Return True always without a flag file, else only on the first call for that file."""
    if flag is None:
        return True
    due = not Path(flag).exists()
    Path(flag).touch()
    return due


class Reckless(Callback):
    """At the end of training, do what disturbs other runs of this process.

    Args:
        how: leave (sys.exit), fail (with a name that is not UTF-8), remove (the run's folder),
            change (the process's defaults and working folder), or anything else for nothing.
    """

    def __init__(self, how: str) -> None:
        self.how = how

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.how == "leave":
            sys.exit(0)
        if self.how == "fail":
            raise ValueError("no file M\udcfcnchen.png")
        if self.how == "remove":
            shutil.rmtree(trainer.default_root_dir)
        if self.how == "change":
            torch.set_default_dtype(torch.float64)
            torch.set_num_threads(3)
            os.chdir("/")


class ShellAt(Callback):
    """Run a shell command after every optimiser step from ``step`` on."""

    def __init__(self, step: int, command: str) -> None:
        self.step, self.command = step, command

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if pl_module.total_steps >= self.step:
            subprocess.run(self.command, shell=True, stderr=subprocess.DEVNULL)


class StuckAt(Callback):
    """Hang after ``step`` optimiser steps, ignoring signals; create the file ``flag`` first."""

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
    """Sleep for ``seconds`` after every training batch, until the file ``until`` is there."""

    def __init__(self, seconds: float, until: str | None = None) -> None:
        self.seconds, self.until = seconds, until

    def on_train_batch_end(self, *_: Any) -> None:
        if self.until is None or not Path(self.until).exists():
            time.sleep(self.seconds)


class WaitFor(Callback):
    """Wait at the start of each epoch from ``epoch`` on until the file ``flag`` is there."""

    def __init__(self, flag: str, epoch: int = 0) -> None:
        self.flag, self.epoch = flag, epoch

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        deadline = time.monotonic() + 60
        while trainer.current_epoch >= self.epoch and not Path(self.flag).exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)


class Talkative(Callback):
    """Print, log and warn after every training batch."""

    def on_train_batch_end(self, *_: Any) -> None:
        print("printed by a callback")
        logging.getLogger(__name__).info("logged by a callback")
        warnings.warn("warned by a callback", stacklevel=1)
