"""A private SLURM of two nodes on this machine: its daemons, files and ports are its own.

It needs the programs of Debian's slurmctld, slurmd, slurm-client and munge, and root; no systemd
and no container. All files lie in one folder, and the daemons are ended by their pid files. With
accounts it has a slurmdbd and a MariaDB of its own as well.
"""

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel")
OF_ACCOUNTS = ("slurmdbd", "sacctmgr", "sacct", "mariadb-install-db", "mariadbd")
NODES = ("n1", "n2")
_SBIN = os.pathsep.join((os.environ["PATH"], "/usr/sbin", "/sbin"))
_CONF = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/{accounts}
{limits}
AccountingStorageHost=127.0.0.1
AccountingStoragePort={ports[3]}
AccountingStoragePass={folder}/munge/socket
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=2,bf_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
ReturnToService=2
KillWait=20
SlurmdTimeout=8
SlurmdParameters=config_overrides
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=4
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=4
PartitionName=low Nodes=n1,n2 Default=YES PriorityTier=1 GraceTime=20
PartitionName=high Nodes=n1,n2 PriorityTier=9
"""


_DBD_CONF = """\
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={ports[3]}
SlurmUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
PidFile={folder}/slurmdbd.pid
LogFile={folder}/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={ports[4]}
StorageUser=slurm
StoragePass=slurm
"""
_ACCOUNTS_SQL = """\
CREATE DATABASE slurm_acct_db;
CREATE USER slurm@'127.0.0.1' IDENTIFIED BY 'slurm';
GRANT ALL ON slurm_acct_db.* TO slurm@'127.0.0.1';
"""


def missing(*, accounts: bool = False) -> str | None:
    """Return why no SLURM can be started here, or None."""
    programs = (*PROGRAMS, *(OF_ACCOUNTS if accounts else ()))
    if lacking := [name for name in programs if shutil.which(name, path=_SBIN) is None]:
        packages = "slurmctld slurmd slurm-client munge"
        packages += " slurmdbd mariadb-server" if accounts else ""
        return f"{', '.join(lacking)} not installed (Debian: {packages})"
    return None if os.geteuid() == 0 else "SLURM's daemons are started as root"


class RealSlurm:
    """Start, disturb and stop the daemons; ``environment`` is for SLURM's commands."""

    def __init__(self, folder: Path, *, accounts: bool = False) -> None:
        self.folder = folder
        self.accounts = accounts
        self._database: subprocess.Popen[bytes] | None = None
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": _SBIN}
        self._conf = f"SLURM_CONF={folder}/slurm.conf"  # of all processes of the cluster

    def start(self) -> None:
        """Write the files, start the daemons and wait until both nodes are idle."""
        for name in ("munge", "state", "spool/n1", "spool/n2"):
            (self.folder / name).mkdir(parents=True)
        munge = self.folder / "munge"
        (munge / "key").write_bytes(os.urandom(1024))
        (munge / "key").chmod(0o400)
        words = {
            "folder": self.folder,
            "host": socket.gethostname().split(".")[0],
            "user": getpass.getuser(),
            "ports": _free_ports(5),
            "accounts": "slurmdbd" if self.accounts else "none",
            "limits": "AccountingStorageEnforce=limits" if self.accounts else "",
        }
        (self.folder / "slurm.conf").write_text(_CONF.format(**words))
        paths = {name: munge / name for name in ("socket", "key-file", "pid-file", "log-file")}
        paths |= {"key-file": munge / "key", "seed-file": munge / "seed"}
        self.call("munged", "--force", *(f"--{name}={path}" for name, path in paths.items()))
        if self.accounts:
            (self.folder / "slurmdbd.conf").write_text(_DBD_CONF.format(**words))
            (self.folder / "slurmdbd.conf").chmod(0o600)
            self._start_accounts(words["ports"][4])
        self.start_controller("-i")
        for node in NODES:
            self.start_node(node)
        self.wait_until(lambda: self.states() == {"n1": "idle", "n2": "idle"})

    def _start_accounts(self, port: int) -> None:
        """Start a MariaDB, which nothing is to survive, and slurmdbd."""
        data, init = self.folder / "accounts", self.folder / "accounts.sql"
        init.write_text(_ACCOUNTS_SQL)
        where = ["--no-defaults", f"--datadir={data}", f"--user={getpass.getuser()}"]
        self.call("mariadb-install-db", *where, "--skip-test-db", timeout=120)
        options = [f"--socket={data}/socket", f"--port={port}", "--bind-address=127.0.0.1"]
        options += [f"--init-file={init}", "--innodb-flush-log-at-trx-commit=0"]
        with (self.folder / "mariadbd.log").open("wb") as log:
            self._database = subprocess.Popen(
                ["mariadbd", *where, *options],
                env={**os.environ, **self.environment},
                stdout=log,
                stderr=log,
            )
        self.wait_until(lambda: (data / "socket").exists())
        self.call("slurmdbd")
        self.wait_until(lambda: self.manage_accounts("add", "cluster", "tests"))
        self.manage_accounts("add", "account", "tests")
        self.manage_accounts("add", "user", getpass.getuser(), "account=tests")

    def manage_accounts(self, *words: str) -> str:
        return self.call("sacctmgr", "--immediate", *words)

    def start_controller(self, *options: str) -> None:
        self.call("slurmctld", *options)

    def start_node(self, node: str) -> None:
        self.call("slurmd", "-N", node)

    def stop_controller(self) -> None:
        """Stop the controller in order: one that is killed forgets what it has not saved yet."""
        pid = int((self.folder / "slurmctld.pid").read_text())
        os.kill(pid, signal.SIGTERM)
        self.wait_until(lambda: not Path(f"/proc/{pid}").exists())

    def kill_node(self, node: str) -> None:
        """Kill a node's daemons and every process of its jobs at once, as a power cut does."""
        _kill(self.folder / f"{node}.pid", signal.SIGKILL)
        tasks = _processes_with(self._conf, f"SLURMD_NODENAME={node}")
        for process in [*_step_daemons_of(tasks), *tasks]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def stop(self) -> None:
        """End all jobs and daemons, also those that a failed start has left."""
        with contextlib.suppress(subprocess.SubprocessError):
            self.call("scancel", "--user", getpass.getuser(), timeout=10)
        for node in NODES:
            self.kill_node(node)
        _kill(self.folder / "slurmctld.pid", signal.SIGKILL)
        _kill(self.folder / "munge" / "pid-file", signal.SIGTERM)
        for process in _processes_with(self._conf):
            if process != os.getpid():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
        if self._database is not None:
            self._database.wait()

    def call(self, *command: str, timeout: float = 30) -> str:
        """Run one of SLURM's commands, and return its output."""
        return subprocess.run(
            command, env={**os.environ, **self.environment}, check=True, timeout=timeout,
            stdout=subprocess.PIPE, text=True,
        ).stdout  # fmt: skip

    def jobs(self) -> list[tuple[int, str, str]]:
        """Return number, state and comment of each job in the queue."""
        lines = self.call("squeue", "--noheader", "--format=%A|%T|%k").splitlines()
        return [(int(n), state, comment) for n, state, comment in (s.split("|") for s in lines)]

    def states(self) -> dict[str, str]:
        lines = self.call("sinfo", "--noheader", "--Node", "--format=%N %t").splitlines()
        return dict(sorted({tuple(line.split()) for line in lines}))

    @staticmethod
    def wait_until(condition, timeout: float = 60) -> None:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            with contextlib.suppress(subprocess.CalledProcessError):
                if condition():
                    return
            time.sleep(0.2)
        raise TimeoutError(f"not within {timeout} s")


@contextlib.contextmanager
def real_slurm(folder: Path, *, accounts: bool = False) -> Iterator[RealSlurm]:
    cluster = RealSlurm(folder, accounts=accounts)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _kill(pid_file: Path, number: int) -> None:
    with contextlib.suppress(OSError, ValueError):
        os.kill(int(pid_file.read_text()), number)


def _processes_with(*variables: str) -> list[int]:
    """Return the processes that were started with ``variables`` (each NAME=VALUE) set."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if {*map(str.encode, variables)} <= {*path.read_bytes().split(b"\0")}:
                found.append(int(path.parent.name))
    return found


def _step_daemons_of(tasks: list[int]) -> set[int]:
    """Return the daemons that started ``tasks``, and would tell the controller how they ended."""
    found = set()
    for task in tasks:
        with contextlib.suppress(OSError):
            parent = int(Path(f"/proc/{task}/status").read_text().split("PPid:")[1].split()[0])
            if Path(f"/proc/{parent}/comm").read_text().startswith("slurmstepd"):
                found.add(parent)
    return found
