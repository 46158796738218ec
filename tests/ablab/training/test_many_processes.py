"""Runs of two processes (DDP on CPUs, gloo), under torchrun and under Lightning's own launcher."""

import csv
import os
import signal
import socket
import subprocess
import warnings
from pathlib import Path

import pytest
import torch

import ablab
from ablab.runs.find import saved_config
from ablab.runs.record import RunRecord
from ablab.training import evaluation
from tests import warm
from tests.checks import assert_same_run, learned
from tests.launch import TINY, TOY, command, environment, launch, torchrun, wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),  # two cores may have other work
]
WARM = pytest.mark.usefixtures("warm_starts")
RECIPE = [*TINY, "trainer.max_epochs=2", "threads=1", "checkpoints.every_n_steps=4"]
DDP = ["trainer=ddp", "trainer.devices=2"]


def start(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments, cwd=cwd, capture_output=True, text=True, timeout=200, env=environment()
    )


def ranks(*overrides: str) -> list[str]:
    return torchrun(str(TOY / "train.py"), *overrides)


def ddp(*overrides: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return start(*ranks(*RECIPE, *DDP, *overrides), cwd=cwd)


def history(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, warm_commands: Path) -> Path:
    """The folder of a whole run under torchrun."""
    cwd = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:  # ``warm_starts`` is a fixture of one test.
        patch.setenv(warm.PYTHON, str(warm_commands / "python"))
        made = ddp(cwd=cwd)
    assert made.returncode == 0, made.stderr
    (folder,) = (cwd / "runs" / "default").iterdir()  # the ranks have one between them
    return folder


def test_a_run_under_torchrun(undisturbed: Path) -> None:
    record, rows = RunRecord.read(undisturbed), history(undisturbed)
    assert (record.status, record.device, record.steps) == ("done", "cpu x 2", 26)
    reports = [int(row["step"]) for row in rows if row["train/loss"]]
    assert reports == list(range(5, 27, 5))  # no step twice
    model, data = ablab.load(undisturbed)
    with warnings.catch_warnings(action="ignore"):  # of Lightning's
        alone = evaluation.test_metrics(saved_config(undisturbed), model, data)
    assert alone == record.metrics["test"]


@WARM
def test_ranks_read_different_samples(tmp_path: Path) -> None:
    """Two learn from half batches what one learns from whole ones."""
    samples = ["data=samples", "data.train.n_rows=256", "model=net", "objective=classification"]
    workers = [*samples, "loading.workers=1", "hydra.run.dir=shared"]
    made = ddp(*workers, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    launch([*RECIPE, *samples, "loading.batch_size=128"], tmp_path / "alone")
    torch.testing.assert_close(learned(tmp_path / "shared"), learned(tmp_path / "alone"))


def test_it_reports_the_loss_of_all_ranks(undisturbed: Path, tmp_path: Path) -> None:
    """And of the whole validation part: as one process does with batches of twice the rows."""
    launch([*RECIPE, "loading.batch_size=128"], tmp_path)
    torch.testing.assert_close(learned(undisturbed), learned(tmp_path))
    for ours, theirs in zip(history(undisturbed), history(tmp_path), strict=True):
        assert ours["step"] == theirs["step"]
        for name in ("train/loss", "val/rmse"):
            if ours[name]:
                assert float(ours[name]) == pytest.approx(float(theirs[name]), rel=1e-5)


@WARM
def test_a_rank_that_raises_ends_the_run_which_goes_on(undisturbed: Path, tmp_path: Path) -> None:
    ended = ddp(*raising(tmp_path), cwd=tmp_path)
    assert ended.returncode == 1, ended.stderr
    (folder,) = (tmp_path / "runs" / "default").iterdir()
    assert_told_of_the_raising_rank(RunRecord.read(folder), ended)
    again = start(*ranks("task=fit", f"run={folder}"), cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert_same_run(undisturbed, folder)


@WARM
def test_a_rank_that_is_killed_ends_the_run_with_its_error(tmp_path: Path) -> None:
    fault = ["callbacks.fault._target_=toy.callbacks.SignalAt", "callbacks.fault.step=18"]
    fault += ["callbacks.fault.rank=1", f"callbacks.fault.number={int(signal.SIGKILL)}"]
    ended = start(*command(*RECIPE, *DDP, *fault), cwd=tmp_path)
    assert ended.returncode == 1, ended.stderr
    (folder,) = (tmp_path / "runs" / "default").iterdir()
    record = RunRecord.read(folder)
    assert record.error is not None
    assert (record.status, record.error["type"]) == ("failed", "RankError")
    assert ended.stderr == "error: rank 1 ended by SIGKILL and left no message\n"


@WARM
def test_a_run_whose_rank_0_stands_still_is_ended(tmp_path: Path) -> None:
    """By the rank that it has started, under Lightning's launcher."""
    fault = ["callbacks.fault._target_=toy.callbacks.SignalAt", "callbacks.fault.step=18"]
    fault += ["callbacks.fault.rank=0", f"callbacks.fault.number={int(signal.SIGSTOP)}"]
    ended = start(*command(*RECIPE, *DDP, "trainer.strategy.timeout_s=30", *fault), cwd=tmp_path)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert ended.stderr.startswith("error: another process of this run did not answer within")


@WARM
def test_a_run_whose_rank_0_is_killed_goes_on(undisturbed: Path, tmp_path: Path) -> None:
    """The only one that writes: nothing can be told in the record."""
    fault = ["callbacks.fault._target_=toy.callbacks.SignalAt", "callbacks.fault.step=18"]
    fault += ["callbacks.fault.rank=0", f"callbacks.fault.number={int(signal.SIGKILL)}"]
    fault += [f"callbacks.fault.flag={tmp_path / 'killed'}"]
    ended = ddp(*fault, cwd=tmp_path)
    assert ended.returncode == 1, ended.stderr
    assert "SIGKILL" in ended.stderr
    (folder,) = (tmp_path / "runs" / "default").iterdir()
    assert RunRecord.read(folder).status == "running"
    again = start(*ranks("task=fit", f"run={folder}"), cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert_same_run(undisturbed, folder)


@WARM
def test_shares_of_parameters_are_saved_whole_and_gone_on_with(
    undisturbed: Path, tmp_path: Path
) -> None:
    """``trainer=fsdp``, started by Lightning: a run that fails and goes on, against one of DDP."""
    fsdp = ["trainer=fsdp", "trainer.devices=2", *raising(tmp_path)]
    ended = start(*command(*RECIPE, *fsdp), cwd=tmp_path)
    assert ended.returncode == 1, ended.stderr
    (folder,) = (tmp_path / "runs" / "default").iterdir()
    assert_told_of_the_raising_rank(RunRecord.read(folder), ended)
    again = start(*command("task=fit", f"run={folder}"), cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    torch.testing.assert_close(learned(folder), learned(undisturbed))
    ours, theirs = RunRecord.read(folder).metrics["test"], RunRecord.read(undisturbed).metrics
    assert ours == pytest.approx(theirs["test"], rel=1e-5)


def raising(folder: Path) -> list[str]:
    """Rank 1 raises after step 18, once."""
    settings = {"_target_": "toy.callbacks.CrashAt", "step": 18, "rank": 1, "flag": folder / "o"}
    return [f"callbacks.fault.{key}={value}" for key, value in settings.items()]


def assert_told_of_the_raising_rank(
    record: RunRecord, ended: subprocess.CompletedProcess[str]
) -> None:
    assert record.error is not None
    assert (record.status, record.error["type"]) == ("failed", "ValueError")
    assert record.error["message"] == "rank 1: the data went bad"
    assert "callbacks.py" in record.error["traceback"]
    assert ended.stderr.count("\nValueError: the data went bad\n") == 1  # the traceback, once
    assert ended.stderr.count("error: rank 1 failed: ValueError: the data went bad\n") == 1


@WARM
def test_a_run_whose_other_machine_does_not_come_says_so_and_can_be_stopped(tmp_path: Path) -> None:
    """torch waits in C++, where no handler of a signal runs."""
    given = environment(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(free_port()), NODE_RANK="0")
    with subprocess.Popen(
        command(*RECIPE, "trainer.num_nodes=2"),
        cwd=tmp_path,
        env=given,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            assert process.stderr.readline().startswith("waiting for the other processes of")
            process.terminate()
            assert process.wait(timeout=30) == 128 + signal.SIGTERM
        finally:
            process.kill()
    (folder,) = (tmp_path / "runs" / "default").iterdir()
    assert RunRecord.read(folder).status == "interrupted"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_rank_outlives_torchrun_and_the_record_tells(
    number: signal.Signals, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """One rank is stopped, so the other waits for it in C++; torchrun ends in its own ways."""
    if number == signal.SIGTERM:  # Of SIGKILL the kernel tells the children of a real torchrun.
        request.getfixturevalue("warm_starts")
    long = [*RECIPE, *DDP, "trainer.max_epochs=5000"]
    with subprocess.Popen(
        ranks(*long),
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            wait_for(lambda: list(tmp_path.rglob("step=*.ckpt")), timeout=120)
            (folder,) = (tmp_path / "runs" / "default").iterdir()
            first = RunRecord.read(folder).process["pid"]
            (second,) = set(ranks_in(tmp_path, children(parent(first)))) - {first}
            os.kill(second, signal.SIGSTOP)
            process.send_signal(number)
            process.wait(timeout=60)
        finally:
            process.kill()
    wait_for(lambda: not is_running(first) and not is_running(second))
    assert RunRecord.read(folder).status == "interrupted"


def ranks_in(cwd: Path, pids: list[int]) -> list[int]:
    """Return those that run in ``cwd`` and have started none: torchrun itself is also a fork."""
    return [p for p in pids if Path(f"/proc/{p}/cwd").resolve() == cwd and not children(p)]


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def children(parent: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
