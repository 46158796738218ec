"""Runs with optimisers and schedules by ``_target_``: what is saved, recorded, and continued."""

import json
from pathlib import Path

import pytest
import torch

from ablab.runs.checkpoints import Manifest, load_checkpoint
from ablab.runs.record import RunRecord
from ablab.safety.signals import RunInterrupted
from tests.checks import assert_same_run, learned
from tests.launch import TINY, launch

POINTS = [
    *(*TINY, "data=points", "data.n_rows=300", "data.validation_fraction=0.1", "model=net"),
    *("objective=classification", "trainer.max_epochs=2"),
]
STOP = ["callbacks.stop._target_=toy.callbacks.SignalAt", "callbacks.stop.step=5"]
AVERAGING = [
    *("optim=own", "optim._target_=toy.optimisers.Averaging", "optim.lr=0.1"),
    *("schedule=constant", "optim.weight_decay.mode=l2", "optim.weight_decay.value=0.01"),
]
RUNS = {
    "muon": ["optim=muon", "trainer.gradient_clip_val=0.5"],
    "averaging": AVERAGING,
    "plateau": [
        *("schedule=plateau", "schedule.patience=0", "schedule.threshold=10"),
        *("optim.weight_decay.mode=l2_loss", "optim.weight_decay.value=0.01"),
    ],
}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_goes_on_bitwise(name: str, tmp_path: Path) -> None:
    launch([*POINTS, *RUNS[name]], tmp_path / "whole")
    with pytest.raises(RunInterrupted):
        launch([*POINTS, *RUNS[name], *STOP], tmp_path / "parts")
    launch(["task=fit", f"run={tmp_path / 'parts'}"], tmp_path / "parts")
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_neither_checkpoints_nor_validations_change_what_is_averaged(tmp_path: Path) -> None:
    launch([*POINTS, *AVERAGING, "data.validation_fraction=0.0"], tmp_path / "few")
    more = ["checkpoints.every_n_steps=1", "checkpoints.keep=20", "data.validation_fraction=0.0"]
    launch([*POINTS, *AVERAGING, *more], tmp_path / "many")
    few, many = learned(tmp_path / "few"), learned(tmp_path / "many")
    assert all(torch.equal(few[name], many[name]) for name in few)
    last = Manifest(tmp_path / "many" / "checkpoints").entries()[-1]
    saved = load_checkpoint(tmp_path / "many" / "checkpoints" / last.file)
    trained = saved["training_weights"]
    assert any(not torch.equal(trained[name], saved["state_dict"][name]) for name in trained)


def test_a_decay_that_an_average_would_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="keeps an average"):
        launch([*POINTS, *AVERAGING, "optim.weight_decay.mode=decoupled"], tmp_path)


def test_the_record_names_what_each_phase_trained_with(tmp_path: Path) -> None:
    phases = ["trainer.max_epochs=null", "phases.head={epochs: 1, freeze_to: -1}"]
    phases.append("phases.all={epochs: 1, schedule: {name: warmup_stable_decay}}")
    launch([*POINTS, "optim=muon", *phases], tmp_path)
    optimizers = RunRecord.read(tmp_path).optimizers
    assert list(optimizers) == ["head", "all"]
    assert [optimizers[name]["schedule"] for name in optimizers] == [
        "one_cycle",
        "warmup_stable_decay",
    ]
    names = [cls.rpartition(".")[2] for cls in optimizers["all"]["classes"]]
    assert names == ["Muon", "AdamW"]
    (muon,) = [g for g in optimizers["head"]["groups"] if g["optimizer"] == "Muon"]
    assert (muon["name"], muon["mode"], muon["frozen"]) == ("hidden/Muon", "decoupled", 1)
    assert json.loads((tmp_path / "run.json").read_text())["config"]["optim"]["rules"]


def test_a_record_of_before_is_read_and_a_config_without_rules_has_no_key_for_them(
    tmp_path: Path,
) -> None:
    """So that its hash, and with it the jobs of its plans, stay what they were."""
    launch([*POINTS, "trainer.max_epochs=1", "trainer.limit_train_batches=1"], tmp_path)
    content = json.loads((tmp_path / "run.json").read_text())
    assert "rules" not in content["config"]["optim"]
    del content["optimizers"]
    (tmp_path / "run.json").write_text(json.dumps(content))
    assert RunRecord.read(tmp_path).optimizers == {}
