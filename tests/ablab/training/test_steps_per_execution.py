"""Several optimiser steps in one step of Lightning: the same results, bit for bit."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

import ablab
from ablab.errors import CheckpointError, ConfigError
from ablab.runs.checkpoints import Manifest, load_checkpoint
from ablab.safety.signals import RunInterrupted
from ablab.training.terminal_tables import EpochLines
from tests.checks import assert_same_run, checked, learned
from tests.launch import TINY, launch, train
from toy.models import Factors

EPOCH = 26  # steps: not a multiple of the executions below
RATINGS = [*TINY, "trainer.max_epochs=2", "trainer.log_every_n_steps=4"]


def run_both(recipe: list[str], folder: Path, steps: int) -> None:
    launch(recipe, folder / "one")
    launch([*recipe, f"steps_per_execution={steps}"], folder / "several")
    assert_same_run(folder / "one", folder / "several")


@pytest.mark.parametrize("mode", ["none", "l2_loss", "l2", "decoupled", "independent"])
def test_every_mode_of_weight_decay(tmp_path: Path, mode: str) -> None:
    run_both([*RATINGS, f"optim.weight_decay={{mode: {mode}, value: 0.01}}"], tmp_path, 7)


@pytest.mark.parametrize(
    "recipe",
    [
        ["trainer.accumulate_grad_batches=3"],
        ["trainer.gradient_clip_val=0.01"],
        ["trainer.gradient_clip_val=0.001", "trainer.gradient_clip_algorithm=value"],
        ["trainer.max_steps=40"],
        ["trainer.limit_train_batches=9"],
        ["optim=momentum", "schedule=cosine"],
    ],
    ids=" ".join,
)
def test_what_changes_a_step(tmp_path: Path, recipe: list[str]) -> None:
    run_both([*RATINGS, *recipe], tmp_path, 8)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_layers_under_autocast(tmp_path: Path, precision: str) -> None:
    """Dropout and batch norm too; autocast must not keep copies of weights from step to step."""
    net = ["data=points", "model=net", "model.dropout=0.3", "model.batch_norm=true"]
    net += ["objective=classification", "logger=csv", "trainer.accelerator=cpu"]
    run_both([*net, "trainer.max_epochs=2", f"trainer.precision={precision}"], tmp_path, 4)


def test_more_steps_than_an_epoch_has(tmp_path: Path) -> None:
    run_both(RATINGS, tmp_path, 1000)


def test_checkpoints_come_with_the_execution_that_passes_their_step(tmp_path: Path) -> None:
    options = ["steps_per_execution=8", "checkpoints.every_n_steps=10", "checkpoints.keep=9"]
    launch([*RATINGS, *options], tmp_path)
    steps = [entry.step for entry in Manifest(tmp_path / "checkpoints").entries()]
    # executions end at 8, 16, 24, 26 of each epoch; the one that ends it waits for validation
    assert steps == [16, 24, 26, 34, 42, 50, 52]


def test_validation_within_an_epoch_comes_after_as_many_batches(tmp_path: Path) -> None:
    within = ["trainer.val_check_interval=8"]
    run_both([*RATINGS, *within], tmp_path, 4)
    with pytest.raises(ConfigError, match=r"val_check_interval: should be a multiple of .* 5"):
        checked([*within, "steps_per_execution=5"])
    with pytest.raises(ConfigError, match="an epoch has only 26 batches"):
        launch([*RATINGS, "trainer.val_check_interval=32"], tmp_path / "too_long")


_LIGHTNING = "lightning.pytorch.callbacks"
_AVERAGING = f"callbacks.a._target_={_LIGHTNING}.StochasticWeightAveraging"


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["trainer.accumulate_grad_batches=0"], "accumulate_grad_batches: should be 1 or more"),
        (["trainer.gradient_clip_algorithm=norms"], "did you mean 'norm'"),
        (["trainer.val_check_interval=0.25", "steps_per_execution=8"], "a number of batches"),
        ([_AVERAGING, "callbacks.a.swa_lrs=0.01"], "take EMAWeightAveraging, or WeightAveraging"),
        (
            [f"callbacks.a._target_={_LIGHTNING}.EMAWeightAveraging", "steps_per_execution=8"],
            "set steps_per_execution=1",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(overrides: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        checked([*overrides])


def test_a_model_may_have_the_hook_before_a_step_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clipped = [*RATINGS, "trainer.gradient_clip_val=0.001"]
    launch(clipped, tmp_path / "without")
    norms: list[float] = []

    def hook(model: Factors, optimizer: object) -> None:
        squares = [p.grad.square().sum() for p in model.parameters() if p.grad is not None]
        norms.append(float(sum(squares)) ** 0.5)

    monkeypatch.setattr(Factors, "on_before_optimizer_step", hook)
    launch(clipped, tmp_path / "with")
    assert_same_run(tmp_path / "without", tmp_path / "with")
    assert max(norms) < 0.001 * 1.01


def test_hooks_of_callbacks_are_called_at_every_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And where there are none, Lightning's way is not taken, with the same results."""
    recipe = [*RATINGS, "steps_per_execution=8"]
    with monkeypatch.context() as without:
        without.setattr(LightningModule, "manual_backward", None)  # a call would raise
        launch(recipe, tmp_path / "without")
    called: list[int] = []

    def hook(self: EpochLines, trainer: Trainer, module: LightningModule) -> None:
        called.append(module.global_step)

    monkeypatch.setattr(EpochLines, "on_after_backward", hook)
    launch(recipe, tmp_path / "with")
    assert called == list(range(2 * EPOCH))
    assert_same_run(tmp_path / "without", tmp_path / "with")


def test_steps_that_an_earlier_version_counted_elsewhere_are_refused(tmp_path: Path) -> None:
    launch(RATINGS, tmp_path)
    file = Manifest(tmp_path / "checkpoints").entries()[-1].file
    checkpoint = load_checkpoint(tmp_path / "checkpoints" / file)
    model, _ = ablab.load(tmp_path)
    model.on_load_checkpoint(checkpoint)
    loops = checkpoint["loops"]["fit_loop"]
    loops["epoch_loop.manual_optimization.optim_step_progress"]["total"]["completed"] = 0
    with pytest.raises(CheckpointError, match="of an earlier version"):
        model.on_load_checkpoint(checkpoint)


@pytest.mark.parametrize("step", [8, 16, EPOCH, EPOCH + 8])
def test_interrupted_and_continued(tmp_path: Path, step: int) -> None:
    launch(RATINGS, tmp_path / "whole")
    stop = ["callbacks.stop._target_=toy.callbacks.SignalAt", f"callbacks.stop.step={step}"]
    parts = tmp_path / "parts"
    with pytest.raises(RunInterrupted):
        launch([*RATINGS, *stop, "steps_per_execution=8"], parts)
    assert Manifest(parts / "checkpoints").entries()[-1].step == step
    launch(["task=fit", f"run={parts}"], parts)
    assert_same_run(tmp_path / "whole", parts)


@pytest.mark.slow
@pytest.mark.usefixtures("warm_starts")
def test_two_processes(tmp_path: Path) -> None:
    """Gradients are averaged at every step, and not at the first of an execution alone: one process
    with batches of twice the rows learns the same."""
    recipe = [*RATINGS, "trainer.accumulate_grad_batches=2", "threads=1"]
    ddp = ["trainer=ddp", "trainer.devices=2"]
    for name, steps in (("one", 1), ("several", 8)):
        made = train(*recipe, *ddp, f"name={name}", f"steps_per_execution={steps}", cwd=tmp_path)
        assert made.returncode == 0, made.stderr
    (one,), (several,) = ((tmp_path / "runs" / name).iterdir() for name in ("one", "several"))
    assert_same_run(one, several)
    launch([*recipe, "loading.batch_size=128"], tmp_path / "alone")
    torch.testing.assert_close(learned(several), learned(tmp_path / "alone"))
