"""Optimisers of other packages, by ``_target_``: killed and continued as if nothing had been."""

import signal
from importlib.util import find_spec
from pathlib import Path

import pytest

from ablab.runs.record import RunRecord
from tests.checks import assert_same_run
from tests.launch import train

CASES = {
    "pytorch_optimizer.Adan": ("optim.weight_decay.mode=cautious", "schedule=warmup_cosine"),
    "schedulefree.AdamWScheduleFree": ("optim.weight_decay.mode=l2", "schedule=constant"),
}


@pytest.mark.slow
@pytest.mark.parametrize("target", CASES)
def test_killed_and_continued_bitwise(target: str, tmp_path: Path) -> None:
    package, _, name = target.rpartition(".")
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed: pip install -e '.[foreign]'")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    overrides = [
        *("data=points", "data.n_rows=400", "model=net", "model.dropout=0.2"),
        *("objective=classification", "trainer.max_epochs=3", "checkpoints.every_n_steps=2"),
        *("trainer.accelerator=cpu", "logger=csv", "threads=1"),
        *("optim=own", f"optim._target_={target}", "optim.weight_decay.value=0.01", *CASES[target]),
    ]
    trusted = {"ABLAB_ALLOWED_TARGETS": package}
    done = train(*overrides, f"hydra.run.dir={whole}", cwd=tmp_path, **trusted)
    assert done.returncode == 0, done.stderr
    kill = [
        *("callbacks.kill._target_=toy.callbacks.SignalAt", "callbacks.kill.step=8"),
        *(f"callbacks.kill.number={signal.SIGKILL:d}", f"callbacks.kill.flag={tmp_path / 'once'}"),
    ]
    done = train(*overrides, *kill, f"hydra.run.dir={killed}", cwd=tmp_path, **trusted)
    assert done.returncode == -signal.SIGKILL, done.stderr
    done = train("task=fit", f"run={killed}", cwd=tmp_path, **trusted)
    assert done.returncode == 0, done.stderr
    assert_same_run(killed, whole)
    (used,) = RunRecord.read(killed).optimizers["fit"]["classes"]
    assert used.startswith(f"{package}.")
    assert used.endswith(name)


@pytest.mark.slow
@pytest.mark.parametrize("target", CASES)
def test_a_package_has_to_be_trusted(target: str, tmp_path: Path) -> None:
    done = train("optim=own", f"optim._target_={target}", cwd=tmp_path)
    assert done.returncode == 2
    assert "ABLAB_ALLOWED_TARGETS=PACKAGE" in done.stderr
