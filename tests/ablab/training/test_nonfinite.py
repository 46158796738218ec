"""Runs whose numbers stop being finite: what is told, what is left, and the switch."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ablab.errors import ConfigError, TrainingError
from ablab.runs.checkpoints import Manifest, load_checkpoint
from ablab.runs.record import RunRecord
from tests.checks import checked
from tests.launch import launch
from toy.models import Net

POINTS = [  # 18 steps an epoch
    *("data=points", "data.n_rows=200", "loading.batch_size=8", "model=net"),
    *("model.n_hidden=4", "objective=classification", "logger=csv", "trainer.accelerator=cpu"),
    *("trainer.max_epochs=2", "trainer.log_every_n_steps=8", "test=false", "interpret=none"),
    "schedule=constant",
]
BAD = 13  # the step, counted from 1
Loss = Callable[[Net, Tensor], Tensor]


def loss_of_nan(model: Net, loss: Tensor) -> Tensor:
    return loss * torch.nan


def gradient_of_nan(model: Net, loss: Tensor) -> Tensor:
    """The loss stays as it is; of one parameter the gradient is ∞ · 0."""
    return loss + (model.lin2.bias.sum() * 0).sqrt()


def spoil(monkeypatch: pytest.MonkeyPatch, how: Loss) -> list[Net]:
    """From here on step ``BAD`` has a loss that is spoilt; gives the model that has met it."""
    met: list[Net] = []
    ordinary = Net.training_loss

    def training_loss(self: Net, inputs: Sequence[Tensor], target: Tensor) -> Tensor:
        loss = ordinary(self, inputs, target)
        if self.total_steps + 1 != BAD:
            return loss
        met.append(self)
        return how(self, loss)

    monkeypatch.setattr(Net, "training_loss", training_loss)
    return met


def state_at(folder: Path, step: int) -> dict[str, Tensor]:
    return load_checkpoint(folder / "checkpoints" / f"step={step:08d}.ckpt")["state_dict"]


@pytest.mark.parametrize("steps_per_execution", [1, 4])
def test_a_loss_is_told_with_its_step_and_what_it_spoilt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps_per_execution: int
) -> None:
    spoil(monkeypatch, loss_of_nan)
    with pytest.raises(TrainingError) as told:
        launch([*POINTS, f"steps_per_execution={steps_per_execution}"], tmp_path)
    first, parameters, gradients, *_, checkpoint = str(told.value).splitlines()
    assert first.startswith(f"the training loss is nan at step {BAD};")
    for line in (parameters, gradients):
        assert "not finite at step 16" in line  # with which it was looked at
        assert "lin2.weight of group output (nan, in 40 of 40)" in line
        assert "lin2.bias of group output (nan, in 10 of 10)" in line
    assert checkpoint == "there is no checkpoint yet"
    record = RunRecord.read(tmp_path)
    assert (record.status, record.exit_code) == ("failed", 1)
    assert record.error is not None
    assert record.error["message"] == str(told.value)


@pytest.mark.parametrize("how", [loss_of_nan, gradient_of_nan])
def test_gradients_are_looked_at_before_their_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: Loss
) -> None:
    launch([*POINTS, f"trainer.max_steps={BAD - 1}"], tmp_path / "before")
    met = spoil(monkeypatch, how)
    with pytest.raises(TrainingError, match=f"step {BAD} has gradients") as told:
        launch([*POINTS, "error_if_nonfinite=gradients"], tmp_path / "run")
    assert "lin2.bias of group output (nan, in 10 of 10)" in str(told.value)
    assert ("lin2.weight" in str(told.value)) == (how is loss_of_nan)
    (model,) = set(met)
    kept = model.state_dict()
    before = state_at(tmp_path / "before", BAD - 1)
    assert all(torch.equal(kept[name], value) for name, value in before.items())


def test_without_a_look_at_the_gradients_the_next_loss_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, gradient_of_nan)
    with pytest.raises(TrainingError, match=f"training loss is nan at step {BAD + 1};"):
        launch(POINTS, tmp_path)


def test_no_checkpoint_holds_what_is_not_finite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also within a window of the loss; the one before it stays, and is named."""
    spoil(monkeypatch, gradient_of_nan)
    often = ["checkpoints.every_n_steps=1", "trainer.log_every_n_steps=1000"]
    with pytest.raises(TrainingError, match=f"after step {BAD} there are numbers") as told:
        launch([*POINTS, *often], tmp_path)
    assert "lin2.bias of group output" in str(told.value)
    newest = Manifest(tmp_path / "checkpoints").entries()[-1]
    assert newest.step == BAD - 1
    assert str(told.value).endswith(f"finite: {tmp_path / 'checkpoints' / newest.file}")
    assert all(value.isfinite().all() for value in state_at(tmp_path, BAD - 1).values())


def test_switched_off_the_run_goes_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, loss_of_nan)
    launch([*POINTS, "error_if_nonfinite=none", "checkpoints.every_n_steps=5"], tmp_path)
    assert RunRecord.read(tmp_path).steps == 36
    assert state_at(tmp_path, 36)["lin2.bias"].isnan().all()


def test_the_switch_is_checked() -> None:
    with pytest.raises(ConfigError, match="error_if_nonfinite: 'grads' is not known"):
        checked(["error_if_nonfinite=grads"])
    with pytest.raises(ConfigError, match="16-mixed are scaled up until"):
        checked(["error_if_nonfinite=gradients", "trainer.precision=16-mixed"])


@pytest.mark.parametrize(("said", "recorded"), [("true", True), ("warn", False), ("false", False)])
def test_the_record_says_whether_a_run_was_deterministic(
    tmp_path: Path, said: str, recorded: bool
) -> None:
    """With ``warn`` an operation that is not only says so."""
    try:
        launch([*POINTS, "trainer.max_steps=1", f"trainer.deterministic={said}"], tmp_path)
    finally:
        torch.use_deterministic_algorithms(False)
    assert RunRecord.read(tmp_path).deterministic is recorded
