"""Start runs of the current project for tests: in this process, or in one of their own.

The project is the toy in tests/ablab and the repository in tests/lesson5: conftest.py says so.
"""

import ctypes
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ablab import project, testing
from tests import forked, warm

ROOT = Path(__file__).resolve().parents[1]
TOY = ROOT / "tests" / "toy"
FOREIGN = ROOT / "tests" / "foreign"
TINY = [
    "trainer.accelerator=cpu",
    "trainer.max_epochs=3",
    "trainer.log_every_n_steps=5",
    "logger=csv",
]
PHASES = [  # two of them, of 1 and 2 epochs; an epoch has 288 rows, which are 5 steps
    *("data=points", "data.n_rows=400", "model=net", "model.batch_norm=true", "model.dropout=0.2"),
    *("objective=classification", "optim.lr=1e-2", "trainer.max_epochs=null"),
    *("trainer.accelerator=cpu", "trainer.log_every_n_steps=1", "logger=csv"),
    "checkpoints.keep=10",
    "+phases.head={epochs: 1, freeze_to: -1, train_norm: false}",
    "+phases.all={epochs: 2, lr: 1e-3, lr_spread: {kind: geometric, first: 1e-4}}",
]
launch = testing.run


@contextmanager
def using(train_file: Path) -> Iterator[None]:
    """Make the project of ``train_file`` the current one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(project, "_current", None)
        project.use(train_file)
        yield


def python() -> str:
    """Return this interpreter, or the one that starts forks under ``warm_starts``."""
    return os.environ.get(warm.PYTHON, sys.executable)


def command(*overrides: str) -> list[str]:
    """Return the words of ``python train.py OVERRIDES``."""
    return [python(), str(project.current().train_file), *overrides]


def torchrun(*words: str) -> list[str]:
    """Return the words of ``torchrun`` with two processes for ``words``."""
    return [python(), "-m", "torch.distributed.run", "--nproc-per-node=2", *words]


def environment(**variables: str) -> dict[str, str]:
    """Return this process's variables and ``variables``, with every package importable."""
    importable = os.pathsep.join(map(str, (ROOT / "src", TOY / "src", ROOT)))
    return {**os.environ, "PYTHONPATH": importable, **variables}


def train(
    *overrides: str,
    cwd: Path,
    timeout: float = 90,
    first: Callable[[], object] | None = None,
    **variables: str,
) -> subprocess.CompletedProcess[str]:
    """Run ``python train.py OVERRIDES`` from the folder ``cwd`` in a forked process.

    Use ``command`` where the start of the process is tested (see tests/forked.py), and ``first``
    for what a shell would do before it.
    """
    return forked.run(overrides, cwd, environment(**variables), timeout, first)


def files_up_to(kib: int) -> Callable[[], None]:
    """Return what keeps a process from files larger than ``kib`` KiB, as a full disk does."""
    return partial(resource.setrlimit, resource.RLIMIT_FSIZE, (kib * 1024, kib * 1024))


def enter_namespaces(of: int, cwd: Path) -> None:
    """See the disks that the process ``of`` sees, from the folder ``cwd``."""
    libc = ctypes.CDLL(None, use_errno=True)
    for name, kind in (("user", 0x10000000), ("mnt", 0x20000)):  # CLONE_NEWUSER, CLONE_NEWNS
        with Path(f"/proc/{of}/ns/{name}").open() as namespace:
            if libc.setns(namespace.fileno(), kind):
                raise OSError(ctypes.get_errno(), f"cannot enter the namespace {name}")
    os.chdir(cwd)


def start(*overrides: str, cwd: Path, **variables: str) -> forked.Process:
    """Start what ``train`` runs, and return the process without waiting for it."""
    return forked.Process(overrides, cwd, environment(**variables))


def wait_for(condition: Callable[[], Any], timeout: float = 60) -> None:
    """Wait until ``condition`` returns something true; raise TimeoutError after ``timeout`` s.

    Four fifths of the time at least are left to the processes that it waits for.
    """
    deadline = time.monotonic() + timeout
    asked = time.monotonic()
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the condition was not met within {timeout} s")
        time.sleep(max(0.02, 4 * (time.monotonic() - asked)))
        asked = time.monotonic()
