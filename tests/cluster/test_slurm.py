"""Sweeps and runs on a real SLURM of two nodes: disturb them, and look for what was lost.

The tests run in their order: the sweep that runs into its time limit goes on beside the others, up
to those that kill a node.
"""

import contextlib
import getpass
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import warm
from tests.cluster.real_slurm import NODES, RealSlurm, missing, real_slurm
from tests.launch import TINY, TOY, command, environment

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(1800),  # other work may slow them
]
SWEEP = [
    *("-m", *TINY, "hydra/launcher=slurm", "hydra.launcher.cpus_per_task=1"),
    *("hydra.launcher.poll_seconds=1", "hydra.sweep.dir=runs/plan"),
]
# Six epochs of 26 steps, in some 16 seconds.
SLOW = ["trainer.max_epochs=6", "callbacks.slow._target_=toy.callbacks.Slow"]
SLOW = [*SLOW, "callbacks.slow.seconds=0.1"]


class Sweep:
    """``python train.py -m …`` in a process, on a cluster."""

    def __init__(self, slurm: RealSlurm, cwd: Path, *overrides: str) -> None:
        self.slurm, self.cwd = slurm, cwd
        self.process = subprocess.Popen(
            command(*SWEEP, *overrides),
            cwd=cwd,
            env=environment(**slurm.environment, MPLCONFIGDIR=str(slurm.folder)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def end(self, timeout: float = 800) -> tuple[int, str]:
        """Wait for the end; return the exit status and the output."""
        try:
            output, _ = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            pytest.fail(f"the sweep has not ended: {self.kill()}\n{self.slurm.jobs()}")
        return self.process.returncode, output

    def kill(self) -> str:
        """Kill the sweep, and return what it has printed that nobody has read yet."""
        self.process.kill()
        return "" if self.process.stdout.closed else self.process.communicate()[0]

    def jobs(self) -> list[tuple[int, str]]:
        """Return number and state of each job of this sweep in the queue."""
        return [(n, state) for n, state, c in self.slurm.jobs() if c.startswith(str(self.cwd))]

    def wait_for_checkpoint(self) -> int:
        """Wait until a job has written a checkpoint, and return the number of the one job."""
        self.slurm.wait_until(lambda: list(self.cwd.rglob("manifest.json")), 300)
        ((number, _),) = self.jobs()
        return number

    def records(self) -> list[dict[str, Any]]:
        return records(self.cwd)


def records(folder: Path) -> list[dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in folder.rglob("run.json")]
    return sorted(found, key=lambda record: record["seeds"]["seed"])


def submitted(slurm: RealSlurm, folder: Path) -> list[str]:
    """Return the nodes of all jobs that were ever submitted for run folders below ``folder``."""
    shown = slurm.call("scontrol", "show", "jobs", "--oneliner").splitlines()
    return [re.findall(r" NodeList=(\S+)", job)[0] for job in shown if f"Comment={folder}" in job]


@pytest.fixture(scope="module", autouse=True)
def warm_jobs(warm_commands: Path) -> Iterator[None]:
    """Start sweeps, their jobs and ranks in forks that have imported torch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(warm.PYTHON, str(warm_commands / "python"))
        yield


@pytest.fixture(scope="module")
def limited(slurm: RealSlurm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sweep]:
    """Start a job of some 80 seconds with a time limit of one minute."""
    limit = ["hydra.launcher.timeout_min=1", "hydra.launcher.signal_delay_s=5"]
    work = [*SLOW, "callbacks.slow.seconds=0.5", "seed=7"]
    sweep = Sweep(slurm, tmp_path_factory.mktemp("limited"), *work, *limit)
    yield sweep
    sweep.kill()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the metrics of the slow job, run without a scheduler and in one go."""
    folder = tmp_path_factory.mktemp("undisturbed")
    words = command(*TINY, *SLOW, "callbacks.slow.seconds=0")
    subprocess.run(words, cwd=folder, env=environment(), check=True, stdout=subprocess.DEVNULL)
    (record,) = records(folder)
    return record["metrics"]


def test_jobs_of_one_and_two_processes_with_one_in_the_queue_at_a_time(
    slurm: RealSlurm, limited: Sweep, tmp_path: Path
) -> None:
    jobs = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=1,2"]
    sweep = Sweep(slurm, tmp_path, *jobs, "hydra.launcher.jobs_at_a_time=1")
    longest = 0
    while sweep.process.poll() is None:
        longest = max(longest, len(sweep.jobs()))
        time.sleep(0.2)
    status, output = sweep.end()
    assert status == 0, output
    assert longest == 1
    assert sorted(record["device"] for record in sweep.records()) == ["cpu x 1", "cpu x 2"]
    assert {record["status"] for record in sweep.records()} == {"done"}


def test_a_cancelled_job_is_seen_within_seconds_and_continued_by_the_same_command(
    slurm: RealSlurm, tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    sweep = Sweep(slurm, tmp_path, *SLOW)
    number = sweep.wait_for_checkpoint()
    slurm.call("scancel", str(number))
    slurm.wait_until(lambda: not sweep.jobs(), 40)
    status, output = sweep.end()
    assert status == 1, output
    assert f"SLURM job {number} ended without a result (CANCELLED)" in output
    (record,) = sweep.records()
    assert record["status"] == "interrupted"
    assert "arning" not in output
    status, output = Sweep(slurm, tmp_path, *SLOW).end()
    assert status == 0, output
    (record,) = records(tmp_path)
    assert (len(record["continued"]), record["metrics"]) == (1, undisturbed)


def test_a_signal_during_start_up_ends_in_another_start(slurm: RealSlurm, tmp_path: Path) -> None:
    """It kills a run that has no handlers yet, in the other job a shell that has none."""
    setup = f"if mkdir {tmp_path}/run 2> /dev/null; then kill -USR1 $$; "
    setup += f"elif mkdir {tmp_path}/shell 2> /dev/null; then trap - USR1; kill -USR1 $$; fi"
    sweep = Sweep(slurm, tmp_path, "seed=0,1", f"hydra.launcher.setup=['{setup}']")
    status, output = sweep.end()
    assert status == 0, output
    assert [record["status"] for record in sweep.records()] == ["done"] * 2
    assert output.count("it is queued again") == 1  # the other one, SLURM has queued again
    assert len(submitted(slurm, tmp_path)) == 3


def test_a_sweep_that_is_killed_and_started_again_submits_no_job_twice(
    slurm: RealSlurm, tmp_path: Path
) -> None:
    flag = tmp_path / "flag"  # Jobs that run wait for it.
    setup = f"hydra.launcher.setup=['until [ -e {flag} ]; do sleep 0.2; done']"
    jobs = ["seed=0,1", setup, "hydra.launcher.cpus_per_task=3"]  # of the 4 that a node has
    sweep = Sweep(slurm, tmp_path, *jobs)
    slurm.wait_until(lambda: sorted(s for _, s in sweep.jobs()) == ["RUNNING"] * 2, 300)
    sweep.kill()
    sweep = Sweep(slurm, tmp_path, *jobs)
    assert "2 of 2 jobs to run" in sweep.process.stdout.readline()
    time.sleep(2)  # It handles signals from here on.
    sweep.process.terminate()
    status, output = sweep.end()
    assert status == 143
    assert "2 jobs stay in SLURM's queue, and the same command waits for them" in output
    sweep = Sweep(slurm, tmp_path, *jobs)
    assert "2 of 2 jobs to run" in sweep.process.stdout.readline()
    flag.touch()
    status, output = sweep.end()
    assert status == 0, output
    assert [(r["status"], r["continued"]) for r in records(tmp_path)] == [("done", [])] * 2
    assert sorted(submitted(slurm, tmp_path)) == list(NODES)


def test_what_slurm_refuses_is_an_error_before_anything_runs(
    slurm: RealSlurm, tmp_path: Path
) -> None:
    status, output = Sweep(slurm, tmp_path, "hydra.launcher.partition=no").end()
    assert status == 2
    assert "error: sbatch: error: " in output.splitlines()[-1]
    assert "invalid partition" in output


def test_a_run_over_both_nodes_by_srun(slurm: RealSlurm, tmp_path: Path) -> None:
    """Two machines with two processes each, in an allocation as docs/launchers.md says."""
    ranks = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.num_nodes=2"]
    tasks = ["srun", "--nodes=2", "--ntasks-per-node=2", "--kill-on-bad-exit"]
    done = subprocess.run(
        [*tasks, *command(*TINY, *ranks)],
        cwd=tmp_path,
        env=environment(**slurm.environment, MASTER_ADDR="127.0.0.1"),
        capture_output=True,
        text=True,
        timeout=800,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (record,) = records(tmp_path)
    assert (record["status"], record["device"]) == ("done", "cpu x 4")


def test_the_script_for_one_run(
    slurm: RealSlurm, tmp_path: Path, undisturbed: dict[str, Any], warm_commands: Path
) -> None:
    """docs/slurm_job.sh as it stands, with the signal that SLURM sends before the time is up."""
    project = tmp_path / "project"
    shutil.copytree(TOY, project)
    script = TOY.parents[1] / "docs" / "slurm_job.sh"
    path = f"{warm_commands}{os.pathsep}{slurm.environment['PATH']}"
    number = subprocess.run(
        ["sbatch", "--parsable", "--time=5", script, *TINY, *SLOW],
        cwd=project,
        env=environment(**{**slurm.environment, "PATH": path}),
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout.strip()
    folder = project / "runs" / "slurm" / number
    slurm.wait_until(lambda: list(folder.rglob("manifest.json")), 300)
    slurm.call("scancel", "--signal=USR1", number)
    slurm.wait_until(lambda: json.loads((folder / "run.json").read_text())["continued"], 300)
    slurm.wait_until(lambda: all(n != int(number) for n, _, _ in slurm.jobs()), 300)
    (record,) = records(folder)
    assert (record["status"], record["metrics"]) == ("done", undisturbed)
    assert len(record["continued"]) == 1


def test_a_job_that_runs_into_its_time_limit_goes_on_in_the_next(limited: Sweep) -> None:
    status, output = limited.end()
    assert status == 0, output
    (record,) = limited.records()
    assert record["status"] == "done"
    assert record["continued"]


def requeue(slurm: RealSlurm, number: int) -> None:
    """Stop the controller, start it again, and then queue the job again."""
    slurm.stop_controller()
    slurm.start_controller()
    slurm.wait_until(lambda: slurm.call("scontrol", "requeue", str(number)) == "")


def pre_empt(slurm: RealSlurm, number: int) -> None:
    """Take both nodes for a job of a partition with a higher priority."""
    slurm.call(
        "sbatch",
        "--partition=high",
        "--nodes=2",
        "--exclusive",
        "--wrap=true",
        "--output=/dev/null",
    )


def kill_node(slurm: RealSlurm, number: int) -> None:
    """Kill the node of a job, and bring it back."""
    node = slurm.call("squeue", "--noheader", f"--jobs={number}", "--format=%N").strip()
    assert node in NODES
    slurm.kill_node(node)
    slurm.wait_until(lambda: slurm.states()[node].startswith("down"), 90)
    slurm.start_node(node)


@pytest.mark.parametrize("disturb", [requeue, pre_empt, kill_node])
def test_a_disturbed_job_comes_to_the_same_result(
    disturb: Callable[[RealSlurm, int], None],
    slurm: RealSlurm,
    tmp_path: Path,
    undisturbed: dict[str, Any],
) -> None:
    # SLURM looks only twice a minute whether a job has to make way for another.
    seconds = 0.4 if disturb is pre_empt else 0.1
    sweep = Sweep(slurm, tmp_path, *SLOW, f"callbacks.slow.seconds={seconds}")
    disturb(slurm, sweep.wait_for_checkpoint())
    status, output = sweep.end()
    assert status == 0, output
    (record,) = sweep.records()
    assert (record["status"], len(record["continued"])) == ("done", 1)
    assert record["metrics"] == undisturbed
    assert len(submitted(slurm, tmp_path)) == 1


@pytest.fixture(scope="module")
def accounted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealSlurm]:
    """Return another SLURM, which keeps accounts and enforces their limits."""
    if reason := missing(accounts=True):
        pytest.skip(reason)
    with real_slurm(tmp_path_factory.mktemp("accounted"), accounts=True) as slurm:
        yield slurm


def test_a_cluster_with_accounts_changes_nothing(
    accounted: RealSlurm, tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    """A job is queued again, another one cancelled, and the sweep killed and started again."""
    jobs = [*SLOW, "seed=0,1"]
    sweep, numbers = Sweep(accounted, tmp_path, *jobs), []
    for seed, disturb in enumerate((["scontrol", "requeue"], ["scancel"])):
        found = f"runs/plan/*seed{seed}_*/checkpoints/manifest.json"
        accounted.wait_until(lambda found=found: list(tmp_path.glob(found)), 300)
        numbers += [number for number, _, comment in accounted.jobs() if f"seed{seed}_" in comment]
        accounted.call(*disturb, str(numbers[seed]))
    status, output = sweep.end()
    assert status == 1, output
    assert f"SLURM job {numbers[1]} ended without a result (CANCELLED)" in output
    assert [record["status"] for record in records(tmp_path)] == ["done", "interrupted"]
    sweep = Sweep(accounted, tmp_path, *jobs)
    accounted.wait_until(sweep.jobs, 300)
    sweep.kill()
    status, output = Sweep(accounted, tmp_path, *jobs).end()
    assert status == 0, output
    words = ["--allocations", "--duplicates", "--noheader", "--parsable2"]
    lines = accounted.call("sacct", *words, "--format=JobID,State").splitlines()
    accounts = [line.split("|") for line in lines]  # each state that a job has ended in
    assert len({number for number, _ in accounts}) == 3
    assert {of.split()[0] for _, of in accounts} == {"REQUEUED", "CANCELLED", "COMPLETED"}
    assert [len(record["continued"]) for record in records(tmp_path)] == [1, 1]
    assert records(tmp_path)[0]["metrics"] == undisturbed


def test_a_full_queue_is_waited_for(accounted: RealSlurm, tmp_path: Path) -> None:
    """An account's limit on jobs in the queue, as most clusters have one."""
    limit = ["modify", "user", getpass.getuser(), "set"]
    accounted.manage_accounts(*limit, "MaxSubmitJobs=1")
    try:
        status, output = Sweep(accounted, tmp_path, "seed=0,1").end()
    finally:
        accounted.manage_accounts(*limit, "MaxSubmitJobs=-1")
    assert status == 0, output
    assert output.count("SLURM takes no more jobs for now") == 1
    assert "AssocMaxSubmitJobLimit" in output
    assert [(r["status"], r["continued"]) for r in records(tmp_path)] == [("done", [])] * 2
    assert len(submitted(accounted, tmp_path)) == 2


def test_nothing_of_a_cluster_is_left_after_an_error(slurm: RealSlurm, tmp_path: Path) -> None:
    with contextlib.suppress(RuntimeError), real_slurm(tmp_path / "slurm") as other:
        pids = [int(path.read_text()) for path in other.folder.rglob("*pid*")]
        raise RuntimeError
    assert len(pids) == 4
    other.wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
