"""Read samples, in this process or by workers, and make their errors one line."""

import atexit
import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import torch
from torch.utils.data import DataLoader, default_collate

from ablab.errors import DataError, UserError, first_line


@dataclass(frozen=True)
class Reading:
    """The way in which samples are read: ``loading`` of the config.

    Attributes:
        workers: processes that read; 0 reads in this process.
        pin_memory: copy batches to memory from which a GPU reads faster.
        persistent_workers: keep the processes from one epoch to the next.
        collate: makes a batch of a list of samples.
    """

    workers: int = 0
    pin_memory: bool = False
    persistent_workers: bool = True
    collate: Callable[[list[Any]], Any] = default_collate

    def loader(self, dataset: Any, workers: int, **options: Any) -> DataLoader[Any]:
        """Return a DataLoader of ``workers`` processes for what gives whole batches."""
        return DataLoader(
            dataset,
            num_workers=workers,
            pin_memory=self.pin_memory,
            collate_fn=_unchanged,
            worker_init_fn=_begin_worker if workers else None,
            generator=torch.Generator(),  # its own draws would come from torch's global one
            **options,
        )

    def batch(self, samples: list[Any]) -> Any:
        """Return the samples as a batch. Raises DataError if they make none."""
        name = getattr(self.collate, "__name__", type(self.collate).__name__)
        with raise_as_data_error(f"{name}: cannot make a batch of {len(samples)} samples"):
            batch = self.collate(samples)
        if batch is None:
            raise DataError(f"{name}: returned None for a batch of {len(samples)} samples")
        return batch


@contextmanager
def raise_as_data_error(what: str) -> Iterator[None]:
    """Raise a DataError that begins with ``what`` for any error of the user's code in the block.

    It names the place, since a worker cannot hand its traceback on.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        called = traceback.extract_tb(error.__traceback__)[2:3]  # by the block, whose frame is [1]
        place = "".join(f" ({Path(f.filename).name}, line {f.lineno})" for f in called)
        raise DataError(f"{what}: {type(error).__name__}: {first_line(error)}{place}") from error


def start_iterating(batches: Iterable[Any]) -> Iterator[Any]:
    """Return an iterator over ``batches``, whose workers are started.

    Raises:
        DataError: a data set cannot be sent to them, as where they are no forks (macOS).
    """
    with raise_as_data_error("loading.workers: cannot be started (0 does without)"):
        return iter(batches)


def _unchanged(batch: Any) -> Any:
    return batch


def _begin_worker(_: int) -> None:
    """Leave signals to the main process, which still needs batches for its last steps; end with it.

    A worker that outlives it would keep the run's folder locked.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Thread(target=_end_with_main_process, daemon=True).start()


def _end_with_main_process() -> None:
    """Wait for the end of the process that uses the batches.

    Under the start method forkserver it is not the parent that the operating system knows.
    """
    main = multiprocessing.parent_process()
    assert main is not None  # this is a worker
    main.join()
    os.kill(os.getpid(), signal.SIGKILL)


@atexit.register
def _end_workers() -> None:
    """End what workers are left when Python exits.

    It sends them SIGTERM, which they ignore, and would wait for them.
    """
    workers = [child for child in multiprocessing.active_children() if child.daemon]
    if workers:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler would raise an error
    for worker in workers:
        worker.kill()
