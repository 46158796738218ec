"""Runs of two processes (DDP on CPUs, gloo), under torchrun and under Lightning's own launcher."""

import csv
import json
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

import lab
from lab import saved
from lab.record import RunRecord
from tests.few_steps import BAD, everything
from tests.launch import ROOT, TINY, command, environment, launch
from tests.test_steps_per_execution import assert_same_run, learned

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # two cores may have other work
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
RECIPE = [*TINY, "trainer.max_epochs=2", "threads=1", "checkpoints.every_n_steps=4"]
DDP = ["trainer=ddp", "trainer.devices=2"]


def start(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments, cwd=cwd, capture_output=True, text=True, timeout=200, env=environment()
    )


def torchrun(*overrides: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return start(*TORCHRUN, str(ROOT / "train.py"), *RECIPE, *DDP, *overrides, cwd=cwd)


def history(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_two_processes_learn_what_one_does_with_their_batches_together(tmp_path: Path) -> None:
    """Every model and mode, in float64: sums in another order are all that differs."""
    made = start(*TORCHRUN, "-m", "tests.few_steps", str(tmp_path), cwd=ROOT)
    assert made.returncode == 0, made.stderr
    two = torch.load(tmp_path / "learned.pt", weights_only=True)
    one = everything(ranks=1)
    assert two.keys() == one.keys()
    for case, state in one.items():
        for name, value in state.items():
            torch.testing.assert_close(
                two[case][name], value, rtol=0, atol=1e-9, msg=lambda m, n=f"{case} {name}": n + m
            )
    first, second = (json.loads((tmp_path / f"told_{r}.json").read_text()) for r in range(2))
    assert first == second  # both ranks, of what only one of them has met
    assert first["loss"].startswith(f"the training loss is nan at step {BAD};")
    assert first["gradients"].startswith(f"step {BAD} has gradients that are not finite")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a whole run under torchrun."""
    cwd = tmp_path_factory.mktemp("undisturbed")
    made = torchrun(cwd=cwd)
    assert made.returncode == 0, made.stderr
    (folder,) = (cwd / "runs" / "default").iterdir()  # the ranks have one between them
    return folder


def test_a_run_under_torchrun(undisturbed: Path) -> None:
    record, rows = RunRecord.read(undisturbed), history(undisturbed)
    assert (record.status, record.device, record.steps) == ("done", "cpu x 2", 26)
    reports = [int(row["step"]) for row in rows if row["train/loss"]]
    assert reports == list(range(5, 27, 5))  # no step twice
    model, data = lab.load(undisturbed)
    with warnings.catch_warnings(action="ignore"):  # of Lightning's
        alone = saved.test_metrics(saved.saved_config(undisturbed), model, data)
    assert alone == record.metrics["test"]


def test_it_reports_the_loss_of_all_ranks(undisturbed: Path, tmp_path: Path) -> None:
    """And of the whole validation part: as one process does with batches of twice the rows."""
    launch([*RECIPE, "data.batch_size=128"], tmp_path)
    torch.testing.assert_close(learned(undisturbed), learned(tmp_path))
    for ours, theirs in zip(history(undisturbed), history(tmp_path), strict=True):
        assert ours["step"] == theirs["step"]
        for name in ("train/loss", "val/rmse"):
            if ours[name]:
                assert float(ours[name]) == pytest.approx(float(theirs[name]), rel=1e-5)


@pytest.mark.parametrize("launcher", ["torchrun", "lightning"])
@pytest.mark.parametrize("how", ["raises", "killed"])
def test_a_rank_that_dies_ends_the_run_with_its_error(
    undisturbed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    launcher: str,
    how: str,
) -> None:
    monkeypatch.setenv("LAB_ALLOWED_TARGETS", "tests")
    kind = "CrashAt" if how == "raises" else "SignalAt"
    fault = [f"callbacks.fault._target_=tests.callbacks.{kind}", "callbacks.fault.step=18"]
    fault += ["callbacks.fault.rank=1"]
    fault += [f"callbacks.fault.flag={tmp_path}/once"] if how == "raises" else []
    fault += [f"callbacks.fault.number={int(signal.SIGKILL)}"] if how == "killed" else []
    if launcher == "torchrun":
        ended = torchrun(*fault, cwd=tmp_path)
    else:
        ended = start(*command(*RECIPE, *DDP, *fault), cwd=tmp_path)
    assert ended.returncode == 1, ended.stderr
    (folder,) = (tmp_path / "runs" / "default").iterdir()
    record = RunRecord.read(folder)
    assert record.error is not None
    if how == "raises":
        assert (record.status, record.error["type"]) == ("failed", "ValueError")
        assert record.error["message"] == "rank 1: the data went bad"
        assert "callbacks.py" in record.error["traceback"]
        assert ended.stderr.count("ValueError: the data went bad\n") == 2  # where, and by rank 0
        assert "error: rank 1 failed: ValueError: the data went bad\n" in ended.stderr
    elif launcher == "lightning":
        assert (record.status, record.error["type"]) == ("failed", "RankError")
        assert ended.stderr == "error: rank 1 died of SIGKILL, without a word\n"
    else:  # torchrun tells it, and its SIGTERM to rank 0 may have come first
        assert record.status in ("failed", "interrupted")
        assert "SIGKILL" in ended.stderr
    if (launcher, how) == ("torchrun", "raises"):
        again = start(*TORCHRUN, str(ROOT / "train.py"), "task=fit", f"run={folder}", cwd=tmp_path)
        assert again.returncode == 0, again.stderr
        assert_same_run(undisturbed, folder)
