"""Run ``train.py`` of the current project in a fork of a process that has imported torch.

These imports take longer than any run of these tests. They and the reading of the toy project's
config files are all that a fork leaves out: the arguments, working folder, environment, output,
signals and exit status are those of a process of its own. Tests of the start itself, or of
variables that the imports read (``RANK``), use ``tests.launch.command``.
"""

import atexit
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.reduction import DupFd
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Self
from unittest.mock import patch

from ablab import project
from tests import warm

_AT_IMPORT = dict(os.environ)  # before any test changes it
forkserver = multiprocessing.get_context("forkserver")
forkserver.set_forkserver_preload(
    ["ablab.training.tasks", "ablab.report.forms.page", "tests.composed_ahead"]
)


class Process:
    """A process like ``subprocess.Popen``'s, for a ``with``; it calls ``first`` before all else."""

    def __init__(
        self,
        overrides: tuple[str, ...],
        cwd: Path,
        environment: dict[str, str],
        first: Callable[[], object] | None = None,
    ) -> None:
        self.overrides = overrides
        self._outputs = [TemporaryFile("ab+") for _ in ("stdout", "stderr")]  # noqa: SIM115
        descriptors = [DupFd(file.fileno()) for file in self._outputs]
        train_file = project.current().train_file
        self._process = forkserver.Process(
            target=_become, args=(train_file, overrides, cwd, environment, descriptors, first)
        )
        # The first start also starts the server, which keeps the environment for all later forks.
        with patch.dict(os.environ, _AT_IMPORT, clear=True):
            self._process.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()
        for file in self._outputs:
            file.close()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self.returncode is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(list(self.overrides), timeout)
        return self.returncode

    def communicate(self, timeout: float) -> tuple[str, str]:
        """Return standard output and standard error."""
        self.wait(timeout)
        return self._written(0), self._written(1)

    def output(self) -> str:
        """Return what the process has written so far, standard error last."""
        return self._written(0) + self._written(1)

    def _written(self, number: int) -> str:
        descriptor = self._outputs[number].fileno()
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode()

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run(
    overrides: tuple[str, ...],
    cwd: Path,
    environment: dict[str, str],
    timeout: float,
    first: Callable[[], object] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a process to its end, like ``subprocess.run`` with captured output."""
    with Process(overrides, cwd, environment, first) as process:
        try:
            stdout, stderr = process.communicate(timeout)
        except BaseException:
            process.kill()
            raise
    assert process.returncode is not None
    return subprocess.CompletedProcess(list(overrides), process.returncode, stdout, stderr)


def _become(
    train_file: Path,
    overrides: tuple[str, ...],
    cwd: Path,
    environment: dict[str, str],
    descriptors: list[Any],
    first: Callable[[], object] | None,
) -> None:
    for number, descriptor in enumerate(descriptors, start=1):
        os.dup2(descriptor.detach(), number)
    os.environ.clear()
    os.environ.update(environment)
    sys.executable = environment.get(warm.PYTHON, sys.executable)
    os.chdir(cwd)
    sys.path.insert(0, str(train_file.parent))
    sys.argv = [str(train_file), *overrides]
    if first is not None:
        first()
    try:
        runpy.run_path(str(train_file), run_name="__main__")
    finally:
        atexit._run_exitfuncs()  # because a fork does not run them
