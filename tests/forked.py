"""Run ``train.py`` of the current project in a fork of a process that has imported torch.

The imports and the reading of the toy project's config files are all that a fork leaves out (see
tests/warm): the arguments, working folder, environment, output, signals and exit status are those
of a process of its own. Tests of the start itself, or of variables that the imports read
(``RANK``), use ``tests.launch.command``.
"""

import os
import pickle
import select
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Self

from ablab import project
from tests import warm
from tests.warm import client


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
        self.returncode: int | None = None
        self._outputs = [TemporaryFile("ab+") for _ in ("stdout", "stderr")]  # noqa: SIM115
        with Path(os.devnull).open() as nothing:
            self._server, self.pid = client.ask(
                str(warm.address()),
                [str(project.current().train_file), *overrides],
                str(cwd),
                environment,
                [file.fileno() for file in (nothing, *self._outputs)],
                b"" if first is None else pickle.dumps(first),
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()
        for file in (self._server, *self._outputs):
            file.close()

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._server], [], [], timeout)[0]:
                assert timeout is not None
                raise subprocess.TimeoutExpired(list(self.overrides), timeout)
            self.returncode = client.status(self._server)
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
