"""Do what clients ask for, each in a fork of this process (see tests/warm)."""

import atexit
import ctypes
import marshal
import os
import pickle
import runpy
import selectors
import signal
import socket
import sys
import threading
import weakref
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton

from ablab.command.import_lightning import import_lightning

MAIN_PROCESS = "ABLAB_MAIN_PROCESS"
PRELOADED = [
    "ablab.training.tasks",
    "ablab.ablation.plan.sweep",
    "ablab.ablation.search.search",
    "ablab.report.forms.page",
    "ablab.report.pictures.every",
    "jinja2",
    "matplotlib.backends.backend_svg",
    "scipy.stats",  # tests compare with it and with sklearn; each worker would import them
    "sklearn",
    "tests.composed_ahead",
]

_kept: list[ModuleType] = []  # What composed_ahead keeps ends with the last reference to it.


def serve(address: str, until: int) -> None:
    """Start what clients ask for, in forks, in the background and until the process ``until`` ends.

    This process itself ends as soon as clients can ask.
    """
    sys.path.insert(0, str(Path(__file__).parents[2]))
    import_lightning()
    _kept.extend(map(import_module, PRELOADED))
    del sys.path[0]
    for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
        del sys.modules[name]  # A fork may have tests of its own,
    del Singleton._instances[Plugins]  # and plugins of Hydra, which are looked for once.
    for finalizer in list(weakref.finalize._registry):  # pyright: ignore
        finalizer.atexit = False  # torch's would copy thousands of pages at a fork's end.
    _use_large_pages()
    running: dict[int, tuple[int, socket.socket]] = {}  # by the descriptor of the process
    with socket.socket(socket.AF_UNIX) as listening, selectors.DefaultSelector() as waiting:
        listening.bind(address)
        listening.listen()
        if os.fork():
            os._exit(0)
        owner = os.pidfd_open(until)
        waiting.register(owner, selectors.EVENT_READ)
        waiting.register(listening, selectors.EVENT_READ)
        while True:
            ready = [key.fileobj for key, _ in waiting.select()]
            if owner in ready:
                return
            # A client that is killed comes before the next one, which may want the same folder.
            for descriptor, (pid, client) in list(running.items()):
                if descriptor not in ready:
                    if client not in ready:
                        continue
                    if number := client.recv(1):
                        os.kill(pid, number[0])
                        continue
                    with suppress(ProcessLookupError):  # it has not come to its own group yet
                        os.killpg(pid, signal.SIGKILL)
                    os.kill(pid, signal.SIGKILL)
                status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                with client:
                    waiting.unregister(client)
                    waiting.unregister(descriptor)
                    os.close(descriptor)
                    del running[descriptor]
                    with suppress(OSError):  # it may be no more
                        client.send(status.to_bytes(2, signed=True))
            if listening in ready:
                client, _ = listening.accept()
                pid = _start(client)
                descriptor = os.pidfd_open(pid)
                running[descriptor] = pid, client
                waiting.register(client, selectors.EVENT_READ)
                waiting.register(descriptor, selectors.EVENT_READ)


def _use_large_pages() -> None:
    """Let Linux keep the heap in pages of 2 MiB where it can: a fork copies fewer entries."""
    size = 2**21
    madvise = ctypes.CDLL(None).madvise
    for line in Path("/proc/self/maps").read_text().splitlines():
        addresses, rights, _, _, file, *name = line.split(maxsplit=5)
        first, end = (int(address, 16) for address in addresses.split("-"))
        first, end = -(-first // size) * size, end // size * size
        if first < end and "w" in rights and file == "0" and name in ([], ["[heap]"]):
            for advice in (14, 25):  # MADV_HUGEPAGE, MADV_COLLAPSE: no error matters
                madvise(ctypes.c_void_p(first), ctypes.c_size_t(end - first), advice)


def _start(client: socket.socket) -> int:
    """Read what is asked for, and return the process that does it."""
    size, streams, _, _ = socket.recv_fds(client, 4, 3)
    asked = marshal.loads(client.recv(int.from_bytes(size), socket.MSG_WAITALL))
    pid = os.fork()
    if pid == 0:
        os.setsid()  # so that those that it starts can be killed with it
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        os.closerange(3, 1024)  # the server's own, and the streams' first numbers
        _become(**asked)
    for stream in streams:
        os.close(stream)  # so that a reader of it sees its end
    with suppress(OSError):  # it may be no more
        client.send(pid.to_bytes(4))
    return pid


def _become(arguments: list[str], cwd: str, environment: dict[str, str], first: bytes) -> NoReturn:
    """Do what ``python ARGUMENTS`` does, and end."""
    os.environ.clear()
    os.environ.update(environment)
    if {"TORCHELASTIC_RUN_ID", "SLURM_PROCID", MAIN_PROCESS} & environment.keys():
        from lightning.fabric.utilities import rank_zero
        from torchmetrics.utilities import prints

        # Both have read it when they were imported.
        rank_zero.rank_zero_only.rank = rank_zero._get_rank()
        prints.rank_zero_only.rank = int(environment.get("LOCAL_RANK", 0))
    if MAIN_PROCESS in environment:  # A rank asks whether its parent is there.
        os.getppid = lambda: int(environment[MAIN_PROCESS])
    sys.executable = environment.get("WARM_PYTHON", sys.executable)
    os.chdir(cwd)
    status: Any = 1
    try:
        _run(arguments, first)
        status = 0
    except SystemExit as end:
        status = end.code
        if isinstance(status, str):
            print(status, file=sys.stderr)
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        threading._shutdown()  # pyright: ignore
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status if isinstance(status, int) else int(status is not None))


def _run(arguments: list[str], before: bytes) -> None:
    first, *rest = arguments
    here = {"-c": "", "-m": str(Path.cwd())}.get(first, str(Path(first).absolute().parent))
    sys.path[:1] = [here, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    if before:
        pickle.loads(before)()
    if first == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.argv = ["-c", *rest[1:]]
        main = sys.modules["__main__"] = ModuleType("__main__")
        exec(rest[0], main.__dict__)
    else:
        sys.argv = arguments
        runpy.run_path(first, run_name="__main__")


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
