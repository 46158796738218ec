"""LightningModules that are no SupervisedModule run as they are, and are recorded as they are."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

import ablab
from ablab.command.user_errors import as_user_error
from ablab.errors import CheckpointError, ConfigError, DataError, TrainingError
from ablab.runs.history import read_history
from ablab.runs.record import RunRecord
from ablab.safety.signals import RunInterrupted
from tests.checks import assert_same_run, checked
from tests.launch import TINY, launch
from toy.own_steps import GAN
from toy.samples import OwnLoaders

POINTS = ["data=points", "data.n_rows=400", "trainer.accelerator=cpu", "logger=csv", "threads=1"]
OF_GAN = [
    *(*POINTS, "model=gan", "objective=logged", "objective.metric=val/distance"),
    *("objective.mode=min", "trainer.max_epochs=2", "trainer.log_every_n_steps=2"),
]
OF_CLASSIFIER = [
    *(*POINTS, "model=classifier", "objective=logged"),
    *("objective.metric=val_loss", "objective.mode=min", "trainer.max_epochs=2"),
]
STEPS = 5 * 2 * 2  # batches, optimisers, epochs


@pytest.fixture(scope="module")
def gan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "gan"
    launch(OF_GAN, folder)
    return folder


def test_the_record_names_what_the_module_has_configured_and_logged(gan: Path) -> None:
    record = RunRecord.read(gan)
    assert record.config["optim"] is record.config["schedule"] is None
    used = record.optimizers["fit"]
    assert used["classes"] == ["torch.optim.adam.Adam", "torch.optim.rmsprop.RMSprop"]
    assert used["groups"][0]["betas"] == [0.5, 0.9]
    assert used["schedulers"][0]["class"] == "torch.optim.lr_scheduler.ExponentialLR"
    assert record.steps == STEPS
    assert record.metrics["last"].keys() == {"train/critic", "val/distance"}
    assert record.metrics["test"].keys() == record.directions.keys() == {"distance"}


def test_a_metric_that_is_no_number_is_not_called_the_best(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(GAN, "_distance", lambda *_: torch.tensor(torch.nan))
    launch(OF_GAN, tmp_path)
    told = capsys.readouterr().out
    assert "val/distance is finite at no checkpoint" in told
    assert "the best by" not in told


def stops(*_: Any) -> None:
    next(iter([]))


@pytest.mark.parametrize(
    ("recipe", "step"),
    [
        (OF_CLASSIFIER, "toy.own_steps.Classifier.training_step"),
        (OF_CLASSIFIER, "toy.own_steps.Classifier.validation_step"),
        (OF_GAN, "toy.own_steps.GAN.training_step"),
        (TINY, "toy.models.Factors.training_step"),
        (TINY, "toy.models.Factors.test_step"),
    ],
)
def test_an_iterator_that_ends_within_a_step_does_not_pass_for_the_end_of_the_data(
    recipe: list[str], step: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(step, stops)
    with pytest.raises(RuntimeError, match=f"{step.split('.')[-1]} raised StopIteration"):
        launch(recipe, tmp_path)
    assert RunRecord.read(tmp_path).status == "failed"


def generated(self: OwnLoaders) -> Iterator[Any]:
    yield from DataLoader(self.train, 8)


def none_of_them(self: OwnLoaders) -> DataLoader[Any]:
    return DataLoader(self.train, 1000, drop_last=True)


@pytest.mark.filterwarnings("ignore:Total length of")  # Lightning's, of the second
@pytest.mark.parametrize(
    ("loader", "told"),
    [(generated, "there is no batch in epoch 2"), (none_of_them, "loader has no batch: it has")],
)
def test_an_epoch_without_a_batch_is_an_error(
    loader: Any, told: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(OwnLoaders, "train_dataloader", loader)
    own = ["data=own_loaders", "model=net", "objective=classification", "trainer.accelerator=cpu"]
    with pytest.raises(DataError, match=told):
        launch([*own, "trainer.max_epochs=null", "trainer.max_steps=20"], tmp_path)


def test_a_loader_that_is_none_is_named_with_its_class(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(OwnLoaders, "val_dataloader", lambda _: None)
    own = ["data=own_loaders", "model=net", "objective=classification", "trainer.accelerator=cpu"]
    with pytest.raises(ConfigError, match=r"OwnLoaders\.val_dataloader returns None"):
        launch([*own, "trainer.max_epochs=1"], tmp_path)


def test_two_optimisers_that_the_module_does_not_step_itself_are_a_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    automatic = property(lambda _: True, lambda *_: None)
    monkeypatch.setattr(GAN, "automatic_optimization", automatic)
    with pytest.raises(RuntimeError) as error:
        launch(OF_GAN, tmp_path)
    assert str(as_user_error(error.value)).startswith("model: Training with multiple optimizers")


def test_what_it_logs_is_on_the_axis_of_optimiser_steps(gan: Path) -> None:
    _, rows = read_history(gan / "metrics.csv")
    assert [int(row["step"]) for row in rows if row["train/critic_step"]] == [4, 8, 12, 16, 20]
    assert [int(row["step"]) for row in rows if row["val/distance"]] == [10, 20]


def test_it_is_loaded_and_predicts_what_it_returns(gan: Path) -> None:
    model, _ = ablab.load(gan)
    assert isinstance(model, GAN)
    launch(["task=predict", f"run={gan}"], gan)
    head, *rows = (gan / "predictions.csv").read_text().splitlines()
    assert head.startswith("score,drawn_0,")
    assert len(rows) == 80


@pytest.mark.parametrize(
    ("overrides", "step"),
    [
        ([], 3),
        pytest.param([], 5, marks=pytest.mark.slow),
        *(
            pytest.param(["model=with_plateau", *more], step, marks=pytest.mark.slow)
            for more in ([], ["model.interval=step"])
            for step in (3, 5, 8)
        ),
        pytest.param(["trainer.accumulate_grad_batches=2"], 0, marks=pytest.mark.slow),
    ],
)
@pytest.mark.filterwarnings("ignore:ReduceLROnPlateau conditioned on")  # in the first epoch
def test_stopped_and_continued_it_is_the_undisturbed_run(
    overrides: list[str], step: int, tmp_path: Path
) -> None:
    settings = [*OF_CLASSIFIER, *overrides, "trainer.log_every_n_steps=1", "trainer.max_epochs=4"]
    launch(settings, tmp_path / "whole")
    stop = ["callbacks.stop._target_=toy.callbacks.SignalAt", f"callbacks.stop.step={step}"]
    with pytest.raises(RunInterrupted):
        launch([*settings, *stop], tmp_path / "stopped")
    launch(["task=fit", f"run={tmp_path / 'stopped'}"], tmp_path / "stopped")
    assert_same_run(tmp_path / "stopped", tmp_path / "whole")


def test_layer_groups_can_be_frozen_and_take_the_optimiser_of_the_config(tmp_path: Path) -> None:
    phases = "+phases.head={epochs: 1, freeze_to: -1, lr: 1e-2}"
    launch([*OF_CLASSIFIER, "trainer.max_epochs=null", phases, "test=false"], tmp_path)
    record = RunRecord.read(tmp_path)
    assert [(g["name"], g["frozen"]) for g in record.optimizers["head"]["groups"]] == [
        ("body", 2),
        ("head", 0),
    ]


def test_validation_within_an_epoch_counts_batches_also_if_gradients_are_accumulated(
    tmp_path: Path,
) -> None:
    """Of 20 batches, which are 5 optimiser steps of 4 batches each."""
    interval = ["trainer.accumulate_grad_batches=4", "trainer.val_check_interval=6"]
    launch([*OF_CLASSIFIER, *interval, "trainer.max_epochs=1", "loading.batch_size=15"], tmp_path)
    _, rows = read_history(tmp_path / "metrics.csv")
    assert [int(row["step"]) for row in rows if row["val_loss"]] == [1, 3, 4]


@pytest.mark.parametrize(
    ("overrides", "fault"),
    [
        ([*OF_GAN, "steps_per_execution=2"], "steps_per_execution: needs a SupervisedModule"),
        ([*OF_GAN, "task=lr_find"], "task: lr_find needs"),
        ([*OF_GAN, "trainer.gradient_clip_val=1.0"], "do this in its training_step"),
        ([*OF_GAN, "objective=regression"], "computes its loss and its metrics itself"),
        ([*OF_CLASSIFIER, "optim.weight_decay.mode=l2_loss"], "l2_loss needs"),
        ([*OF_GAN, "+phases.a={epochs: 1, lr: 0.1}"], r"phases\.a\.lr: is not used"),
        ([*OF_GAN, "+phases.a={epochs: 1, freeze_to: 1}"], "has no method layer_groups"),
        (
            ["objective=logged", "objective.metric=x", "objective.mode=min"],
            "objective.loss: is req",
        ),
    ],
)
def test_what_does_not_go_with_the_class_is_refused(overrides: list[str], fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        checked(overrides)


def test_settings_of_optimisers_that_are_not_used_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"optim\.lr: is not used, since GAN"):
        launch([*OF_GAN, "optim.lr=0.1"], tmp_path)


def test_a_metric_that_is_never_logged_is_named_after_an_epoch(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has not logged 'val/acc'; it has logged .*val_loss"):
        launch([*OF_CLASSIFIER, "objective.metric=val/acc"], tmp_path)


def test_a_checkpoint_that_would_run_code_is_refused_when_it_is_written(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"torch\.nn.*ReLU at module"):
        launch([*OF_CLASSIFIER, "model=stateful"], tmp_path)


def test_a_loss_that_is_no_number_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="the training loss is"):
        launch([*OF_GAN, "model.lr=1e30"], tmp_path)
