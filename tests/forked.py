"""``train.py`` in a process that need not import torch and Lightning: a fork of one that has.

Those imports take longer than any run of these tests, and are all that is left out: arguments,
working folder, environment, output and exit status are those of a process of its own. Where the
start is what is tested, or a signal, tests begin from ``tests.launch.command``.
"""

import multiprocessing
import os
import runpy
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from lab.cli import CONF

TRAIN = CONF.parent / "train.py"
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["lab.run", "lab.report.page"])


def run(
    overrides: tuple[str, ...], cwd: Path, environment: dict[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """As ``subprocess.run`` of ``python train.py OVERRIDES`` with its output captured."""
    with TemporaryDirectory() as folder:
        outputs = Path(folder, "stdout"), Path(folder, "stderr")
        process = _context.Process(target=_become, args=(overrides, cwd, environment, outputs))
        process.start()
        process.join(timeout)
        stdout, stderr = (path.read_text() if path.exists() else "" for path in outputs)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(list(overrides), timeout, stdout, stderr)
    return subprocess.CompletedProcess(list(overrides), process.exitcode, stdout, stderr)


def _become(
    overrides: tuple[str, ...], cwd: Path, environment: dict[str, str], outputs: tuple[Path, Path]
) -> None:
    for number, path in enumerate(outputs, start=1):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.path[0] = str(TRAIN.parent)
    sys.argv = [str(TRAIN), *overrides]
    runpy.run_path(str(TRAIN), run_name="__main__")
