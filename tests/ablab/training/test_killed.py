"""Runs are killed (SIGKILL) again and again, and end as if nothing had been.

Moments are counted in writes to disk that must last, those of checkpoints, of their manifest and of
the record, and lie at such a write or a little after it: in a step, an epoch's end, a new phase.
"""

import os
import random
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from ablab.runs.checkpoints import Manifest, load_checkpoint
from ablab.runs.record import RunRecord
from tests.forked import Process
from tests.launch import PHASES, environment, launch

KILLS = 3  # of each run
MOST_WRITES = 14  # until the next one
SAMPLES = [
    *("model=net", "model.dropout=0.2", "objective=classification", "loading.batch_size=16"),
    *("optim.lr=1e-2", "trainer.max_epochs=4"),
]
LOADED = [word for word in SAMPLES if not word.startswith("loading.")]  # by loaders of their own
RUNS = {
    "ratings": ["data.n_ratings=700", "trainer.max_epochs=4", "steps_per_execution=2"],
    "linear": [
        *("data=points", "data.n_rows=800", "model=linear", "objective=classification"),
        *("optim=momentum", "optim.lr=0.1", "trainer.max_epochs=4"),
        "optim.weight_decay.mode=l2",
    ],
    "samples": ["data=samples", *SAMPLES, "loading.workers=2"],
    "stream with a state": [
        *("data=samples", "data.train._target_=toy.samples.StatefulStream", *SAMPLES),
        "loading.workers=1",
    ],
    "stream without a state": [
        *("data=samples", "data.train._target_=toy.samples.Stream", *SAMPLES),
    ],
    "stream without a length": [
        *("data=samples", "data.train._target_=toy.samples.UnsizedStream", *SAMPLES),
        *("trainer.max_epochs=null", "trainer.max_steps=76", "steps_per_execution=2"),
    ],
    "own loaders": ["data=own_loaders", *LOADED, "data.n_rows=300"],
    "own loaders without a length": [
        *("data=own_loaders", "data._target_=toy.samples.UnsizedLoaders", *LOADED),
        *("data.n_rows=300", "trainer.max_epochs=null", "trainer.max_steps=76"),
    ],
    "muon and adamw": [
        *("data=points", "data.n_rows=800", "model=net", "objective=classification"),
        *("optim=muon", "schedule=warmup_stable_decay", "optim.weight_decay.mode=cautious"),
        "trainer.max_epochs=4",
    ],
    "own steps": [
        *(
            "data=points",
            "data.n_rows=800",
            "model=gan",
            "objective=logged",
            "trainer.max_epochs=4",
        ),
        *("objective.metric=val/distance", "objective.mode=min"),
    ],
    "net in phases": [*PHASES, "phases.head.epochs=3", "phases.all.epochs=5"],
}
ALWAYS = [
    *("checkpoints.every_n_steps=3", "checkpoints.keep=2", "logger=csv", "trainer.accelerator=cpu"),
    *("threads=1", "trainer.log_every_n_steps=4"),
]


def be_killed(at_write: int, seconds_later: float) -> None:
    """Kill this process at its ``at_write``-th call of ``os.replace`` or ``os.fsync``."""
    writes = 0

    def counted(call: Callable[..., None]) -> Callable[..., None]:
        def at_a_write(*arguments: Any, **options: Any) -> None:
            nonlocal writes
            writes += 1
            if writes == at_write:
                kill = partial(os.kill, os.getpid(), signal.SIGKILL)
                if seconds_later == 0:
                    kill()
                threading.Timer(seconds_later, kill).start()
            call(*arguments, **options)

        return at_a_write

    os.replace, os.fsync = counted(os.replace), counted(os.fsync)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", RUNS)
def test_killed_at_random_moments(name: str, tmp_path: Path) -> None:
    overrides = [*RUNS[name], *ALWAYS]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    launch(overrides, whole)
    moments = random.Random(name)
    arguments = [*overrides, f"hydra.run.dir={killed}"]
    for _ in range(KILLS):
        later = moments.choice([0.0, moments.uniform(0, 0.05)])
        moment = partial(be_killed, moments.randint(2, MOST_WRITES), later)
        with Process(tuple(arguments), tmp_path, environment(), moment) as process:
            process.wait(120)
        assert process.returncode == -signal.SIGKILL, process.output()
        if (killed / "run.json").exists():
            arguments = ["task=fit", f"run={killed}"]
    never = partial(be_killed, 0, 0.0)
    with Process(tuple(arguments), tmp_path, environment(), never) as process:
        process.wait(120)
    assert process.returncode == 0, process.output()
    assert_same(last_checkpoint(killed), last_checkpoint(whole))
    assert (killed / "metrics.csv").read_text() == (whole / "metrics.csv").read_text()
    records = [RunRecord.read(folder) for folder in (killed, whole)]
    assert records[0].metrics == records[1].metrics
    assert records[0].status == "done"


def last_checkpoint(folder: Path) -> dict[str, Any]:
    """All of it: parameters, optimiser, schedule, loops, the loader's place, random states."""
    return load_checkpoint(
        folder / "checkpoints" / Manifest(folder / "checkpoints").entries()[-1].file
    )


def assert_same(one: Any, other: Any, place: str = "") -> None:
    """Bit for bit."""
    assert type(one) is type(other), place
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), place
    elif isinstance(one, Mapping):
        assert list(one) == list(other), place
        for key in one:
            assert_same(one[key], other[key], f"{place}.{key}")
    elif isinstance(one, Sequence) and not isinstance(one, str):
        assert len(one) == len(other), place
        for index, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_same(a, b, f"{place}[{index}]")
    else:
        assert one == other, place
