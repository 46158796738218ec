"""``hydra/launcher=stacked`` as a user meets it: plans, records, continuations and signals."""

import csv
import json
import random
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from ablab.runs.checkpoints import Manifest, load_checkpoint
from ablab.runs.record import RunRecord
from tests.launch import start, train, wait_for

pytestmark = pytest.mark.timeout(300)  # two cores may have other work
PLAN = [
    *("-m", "hydra.sweep.dir=plan", "data=points", "model=net", "objective=classification"),
    *("logger=csv", "trainer.accelerator=cpu", "trainer.max_epochs=3", "threads=1"),
    *("trainer.log_every_n_steps=5", "steps_per_execution=4"),
]
STACKED = [*PLAN, "hydra/launcher=stacked"]
RATES = "optim.lr=1e-2,3e-3"
TOLERANCE = 1e-5


def runs(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob("plan/*/run.json"))


def plain(value: Any, path: str = "") -> dict[str, Any]:
    """Return the leaves of nested dictionaries and lists by their paths."""
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list | tuple):
        inner = enumerate(value)
    else:
        return {path: value}
    return {p: leaf for key, part in inner for p, leaf in plain(part, f"{path}.{key}").items()}


def assert_same(one: Any, other: Any) -> None:
    """Assert that two trees have the same leaves, numbers and tensors up to rounding."""
    ours, theirs = plain(one), plain(other)
    assert ours.keys() == theirs.keys()
    for path, value in ours.items():
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            scale = max(float(value.abs().max()), 1e-3) if value.numel() else 1.0
            assert value.shape == theirs[path].shape
            assert float((value - theirs[path]).abs().max()) <= TOLERANCE * scale, path
        elif isinstance(value, torch.Tensor):
            assert torch.equal(value, theirs[path]), path
        elif isinstance(value, float):
            assert value == pytest.approx(theirs[path], rel=TOLERANCE), path
        else:
            assert value == theirs[path], path


def rows(folder: Path) -> list[dict[str, float | None]]:
    with (folder / "metrics.csv").open() as file:
        return [
            {k: float(v) if v else None for k, v in row.items()} for row in csv.DictReader(file)
        ]


def assert_same_results(one: Path, other: Path) -> None:
    ours, theirs = RunRecord.read(one), RunRecord.read(other)
    assert (ours.status, theirs.status) == ("done", "done")
    for key in ("metrics", "checkpoints", "steps", "epochs", "optimizers", "directions", "data"):
        assert_same(getattr(ours, key), getattr(theirs, key))
    assert_same(rows(one), rows(other))
    manifests = [Manifest(folder / "checkpoints") for folder in (one, other)]
    entries = [manifest.entries() for manifest in manifests]
    assert [e.file for e in entries[0]] == [e.file for e in entries[1]]
    assert_same([e.metrics for e in entries[0]], [e.metrics for e in entries[1]])
    assert [e.before for e in entries[0]] == [e.before for e in entries[1]]
    for entry in entries[0]:
        assert_same(*(load_checkpoint(m.folder / entry.file) for m in manifests))


def test_members_leave_what_runs_alone_leave(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    jobs = ["seed=0,1", RATES]
    assert train(*PLAN, *jobs, cwd=tmp_path / "a").returncode == 0
    done = train(*STACKED, *jobs, cwd=tmp_path / "b")
    assert done.returncode == 0, done.stderr
    assert "stack 1 of 1: 4 jobs as one model" in done.stdout
    for one, other in zip(runs(tmp_path / "a"), runs(tmp_path / "b"), strict=True):
        assert_same_results(one, other)
    stacked = [RunRecord.read(run).stacked for run in runs(tmp_path / "b")]
    assert {about["index"] for about in stacked} == {0, 1, 2, 3}
    assert {(about["stack"], about["size"]) for about in stacked} == {(stacked[0]["stack"], 4)}
    again = train("task=test", f"run={runs(tmp_path / 'b')[0]}", cwd=tmp_path)
    assert again.returncode == 0, again.stderr


STOPPED = ["callbacks=early_stopping", "callbacks.early_stopping.patience=1", "schedule=constant"]
FEATURES = {
    "early stopping": [*STOPPED, "trainer.max_epochs=8", "optim.lr=1e-2,1e-1,1"],
    "phases": [  # Adam would make much of a bias before a batch norm, whose gradients are rounding
        *(
            "optim=sgd",
            "trainer.max_epochs=null",
            "model.batch_norm=true",
            "model.dropout=0.2",
            "seed=0,1",
        ),
        "+phases.head={epochs: 1, freeze_to: -1, train_norm: false}",
        "+phases.all={epochs: 2, lr: 1e-3, lr_spread: {kind: geometric, first: 1e-4}}",
    ],
    "rules, plateau": [
        *("schedule=plateau", "schedule.patience=0", RATES),
        "optim.rules=[{match: {ndim: 2}, optimizer: {_target_: torch.optim.SGD, momentum: 0.9}}]",
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize("feature", FEATURES)
def test_members_follow_what_a_run_alone_follows(feature: str, tmp_path: Path) -> None:
    jobs = FEATURES[feature]
    plan = [word for word in PLAN if word != "trainer.max_epochs=3" or feature != "phases"]
    for name in ("a", "b"):
        launcher = ["hydra/launcher=stacked"] if name == "b" else []
        (tmp_path / name).mkdir()
        done = train(*plan, *launcher, *jobs, cwd=tmp_path / name)
        assert done.returncode == 0, done.stderr
    for one, other in zip(runs(tmp_path / "a"), runs(tmp_path / "b"), strict=True):
        assert RunRecord.read(other).stacked
        assert_same_results(one, other)


def test_a_member_that_diverges_fails_alone(tmp_path: Path) -> None:
    quiet = ("logger=default", "logger.wandb.mode=off")
    rates = ("optim=sgd", "optim.lr=0.1,1e30,0.2", "schedule=constant")
    done = train(*STACKED, *rates, *quiet, cwd=tmp_path)
    assert "W&B is off" not in done.stdout + done.stderr
    assert all("W&B is off" in (run / "run.log").read_text() for run in runs(tmp_path))
    assert done.returncode == 1
    records = [RunRecord.read(run) for run in runs(tmp_path)]
    states = {record.config["optim"]["lr"]: record.status for record in records}
    assert states == {0.1: "done", 0.2: "done", 1e30: "failed"}
    (failed,) = [record for record in records if record.status == "failed"]
    assert failed.error is not None
    assert failed.error["type"] == "TrainingError"
    assert "stack 1 of 1" in done.stdout


def test_what_cannot_be_stacked_runs_alone_with_the_reason(tmp_path: Path) -> None:
    accumulated = "trainer.accumulate_grad_batches=1,2"
    done = train(*STACKED, accumulated, "seed=0,1", "test=false", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2 of the jobs alone: trainer.accumulate_grad_batches=2 is" in done.stdout
    records = [RunRecord.read(run) for run in runs(tmp_path)]
    sizes = {r.config["trainer"]["accumulate_grad_batches"]: r.stacked.get("size") for r in records}
    assert sizes == {1: 2, 2: None}
    assert "2 of 4 runs trained in stacks" in (tmp_path / "plan" / "report.md").read_text()


def test_a_dry_run_shows_the_stacks_of_the_jobs_that_are_missing(tmp_path: Path) -> None:
    done = train(*STACKED, RATES, "seed=0,1", "+ablation.dry_run=true", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "stack 1: 4 jobs as one model (1-4)" in done.stdout
    assert not runs(tmp_path)


KILLS = 6


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_stacked_plan_killed_again_and_again_ends_as_one_left_alone(tmp_path: Path) -> None:
    longer = ["trainer.max_epochs=20", "seed=0,1,2", RATES, "hydra.launcher.write_every=0"]
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    for folder in (undisturbed, killed):
        folder.mkdir()
    assert train(*STACKED, *longer, cwd=undisturbed, timeout=300).returncode == 0
    moments, on_the_disk = random.Random(7), 0
    for kill in range(KILLS):
        with start(*STACKED, *longer, cwd=killed) as process:
            wait_for(lambda p=process: "jobs as one model" in p.output() or p.poll() is not None)
            enough = on_the_disk + moments.randint(0, 12)  # manifests written since the last kill
            wait_for(lambda p=process, n=enough: _epochs(killed) >= n or p.poll() is not None)
            assert process.poll() is None, f"it was over before kill {kill}: {process.output()}"
            process.send_signal(moments.choice([signal.SIGKILL, signal.SIGTERM]))
            process.wait(60)
        on_the_disk = _epochs(killed)
    rest = train(*STACKED, *longer, cwd=killed, timeout=300)
    assert rest.returncode == 0, rest.stdout + rest.stderr
    for one, other in zip(runs(undisturbed), runs(killed), strict=True):
        assert_same_results(one, other)
    assert sum(len(RunRecord.read(run).continued) for run in runs(killed)) >= 2


def _epochs(folder: Path) -> int:
    """Return the sum over members of the epochs of their newest checkpoints."""
    manifests = folder.glob("plan/*/checkpoints/manifest.json")
    found = [json.loads(path.read_text())["checkpoints"] for path in manifests]
    return sum(entries[-1]["epoch"] + 1 for entries in found if entries)


@pytest.mark.slow
def test_a_member_goes_on_alone(tmp_path: Path) -> None:
    """From a checkpoint of a stack, as from one of its own."""
    (tmp_path / "whole").mkdir()
    (tmp_path / "cut").mkdir()
    longer = ["trainer.max_epochs=10", "seed=0,1"]
    assert train(*PLAN, *longer, cwd=tmp_path / "whole").returncode == 0
    cut = tmp_path / "cut"
    with start(*STACKED, *longer, "hydra.launcher.write_every=0", cwd=cut) as process:
        wait_for(lambda: _epochs(cut) >= 3)
        process.terminate()
        assert process.wait(60) == 128 + signal.SIGTERM
    assert {RunRecord.read(run).status for run in runs(cut)} == {"interrupted"}
    for whole, run in zip(runs(tmp_path / "whole"), runs(cut), strict=True):
        alone = train(f"run={run}", cwd=cut)
        assert alone.returncode == 0, alone.stderr
        assert_same_results(whole, run)
