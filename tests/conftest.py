"""For every test: one thread, and no account or setting of the developer's own."""

import gc
import os
import shlex
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from ablab.command.import_lightning import import_lightning
from ablab.training.launched import RANK_VARIABLES
from tests import warm
from tests.composed_once import composed_once

os.environ["OMP_NUM_THREADS"] = "1"  # so that sums are the same on any machine
# readline leaves the first two to the workers of pytest-xdist; the third hides faults of flushing.
for name in ("COLUMNS", "LINES", "PYTHONUNBUFFERED"):
    os.environ.pop(name, None)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell has it for what runs behind
    signal.signal(signal.SIGINT, signal.default_int_handler)
# A run waits for the disk at sixteen writes that must last, and no test cuts the power.
MEMORY = Path("/dev/shm")
if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 8 * 2**30:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))
SHARING = {  # files of slow tests; test_architecture looks whether they are there
    "tests/ablab/report/test_browser.py",
    "tests/ablab/safety/test_surroundings.py",
    "tests/ablab/trackers/test_online.py",
    "tests/ablab/training/test_disks.py",
    "tests/ablab/training/test_many_processes.py",
    "tests/cluster/test_ray.py",
    "tests/cluster/test_slurm.py",
    "tests/lesson5/ratings/test_recommend.py",
    "tests/lesson5/test_many_processes.py",
}
settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")


def pytest_configure(config: pytest.Config) -> None:
    """Let pytest-xdist's workers share a server of forks."""
    if not hasattr(config, "workerinput"):
        sharing = ExitStack()
        sharing.enter_context(warm.shared())
        config.add_cleanup(sharing.close)


def pytest_collection(session: pytest.Session) -> None:
    """Import torch, but not where pytest-xdist only hands out the tests; collect no garbage."""
    if not session.config.pluginmanager.hasplugin("dsession"):
        import_lightning()
        gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)  # A collection costs more here than the garbage does.
    gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(specs: list[Any]) -> None:
    """Start the workers as forks of the server, so that torch is imported once."""
    for spec in specs:
        spec.python = shlex.quote(str(warm.commands() / "python"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give tests that share what takes long to one worker, with ``--dist loadgroup``.

    pytest-xdist 3.8 finds no groups under pytest 9.2, where it cannot change the ids of tests.
    """
    if config.getvalue("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class Grouped(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return file if file in SHARING else nodeid

    return Grouped(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what is given most time, so that no worker is waited for at the end."""
    given = {
        item: max((m.args[0] for m in item.iter_markers("timeout")), default=0) for item in items
    }
    items.sort(key=lambda item: -given[item])


@pytest.fixture(scope="session", autouse=True)
def kept_compositions() -> Iterator[None]:
    """Make runs in this process start sooner."""
    with composed_once():
        yield


@pytest.fixture(autouse=True)
def isolated_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory):
    """Hide the developer's W&B account, netrc, allow-list and SLURM allocation from tests."""
    for name in list(os.environ):
        if name.startswith(("WANDB_", "ABLAB_", "HYDRA_", "SLURM_")) or name in RANK_VARIABLES:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture(scope="session")
def warm_commands() -> Path:
    """Return a folder of ``python`` and ``ablab`` that start in a moment (see tests/warm)."""
    return warm.commands()


@pytest.fixture
def warm_starts(warm_commands: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start commands, the jobs of launchers and torchrun's ranks in forks that have torch."""
    monkeypatch.setenv(warm.PYTHON, str(warm_commands / "python"))
