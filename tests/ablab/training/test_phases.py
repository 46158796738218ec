"""Phases: frozen groups stay, each has its own schedule, and stops leave no trace."""

import csv
from pathlib import Path

import pytest
import torch
from torch import nn

import ablab
from ablab.errors import ConfigError
from ablab.optim.schedules import lr
from ablab.runs.checkpoints import Manifest, load_checkpoint
from ablab.runs.identity import config_hash
from ablab.runs.record import RunRecord
from ablab.safety.signals import RunInterrupted
from tests.checks import checked
from tests.launch import PHASES, launch, train

EPOCH = 5  # steps


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run of two phases; tests read it and never write to it."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    launch(PHASES, folder)
    return folder


def state_at(folder: Path, step: int) -> dict[str, torch.Tensor]:
    return load_checkpoint(folder / "checkpoints" / f"step={step:08d}.ckpt")["state_dict"]


def history(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_frozen_group_stays_bitwise_and_learns_later(finished: Path) -> None:
    model, _ = ablab.load(finished)
    torch.manual_seed(0)
    fresh = type(model)(n_inputs=30, n_classes=10, n_hidden=8, batch_norm=True).state_dict()
    head, end = state_at(finished, EPOCH), state_at(finished, 3 * EPOCH)
    for name in ("lin1.weight", "lin1.bias", "bn1.weight", "bn1.bias", "bn1.running_mean"):
        assert torch.equal(head[name], fresh[name]), name
        assert not torch.equal(head[name], end[name]), name
    assert not torch.equal(head["lin2.weight"], fresh["lin2.weight"])


def test_steps_and_epochs_count_on(finished: Path) -> None:
    rows = history(finished)
    reports = [int(row["step"]) for row in rows if row["train/loss"]]
    assert reports == list(range(1, 3 * EPOCH + 1))
    ends = [(int(row["step"]), float(row["epoch"])) for row in rows if row["val/accuracy"]]
    assert ends == [(EPOCH, 0.0), (2 * EPOCH, 1.0), (3 * EPOCH, 2.0)]
    record = RunRecord.read(finished)
    assert (record.steps, record.epochs) == (3 * EPOCH, 3)
    entries = Manifest(finished / "checkpoints").entries()
    assert [(e.step, e.before.phase, e.before.steps) for e in entries] == [
        (EPOCH, 1, EPOCH),
        (2 * EPOCH, 1, EPOCH),
        (3 * EPOCH, 2, 3 * EPOCH),
    ]


def test_each_phase_has_its_own_cycle_and_rates(finished: Path) -> None:
    config = checked(PHASES)
    for row in history(finished):
        if not row["train/loss"]:
            continue
        step = int(row["step"]) - 1
        first = step < EPOCH
        total, local = (EPOCH, step) if first else (2 * EPOCH, step - EPOCH)
        peaks = (1e-2, 1e-2) if first else (1e-4, 1e-3)
        for name, peak in zip(("hidden", "output"), peaks, strict=True):
            expected = lr(config.schedule, local, total, peak)
            assert float(row[f"lr/{name}"]) == pytest.approx(expected, rel=1e-6)


def test_equals_two_fits_written_by_hand(tmp_path: Path) -> None:
    """Without dropout and batch norm: torch's AdamW and OneCycleLR, phase by phase, bitwise."""
    plain = [*PHASES, "model.batch_norm=false", "model.dropout=0.0", "optim.lr=1e-2"]
    launch(plain, tmp_path / "run")
    model, data = ablab.load(tmp_path / "run")
    torch.manual_seed(0)
    model = type(model)(n_inputs=30, n_classes=10, n_hidden=8)
    points, labels = data.parts["train"]
    loader = data.train_dataloader()
    epoch = 0
    for epochs, frozen, rates in ((1, True, [1e-2, 1e-2]), (2, False, [1e-4, 1e-3])):
        groups = [{"params": list(m.parameters())} for m in (model.lin1, model.lin2)]
        for parameter in model.lin1.parameters():  # type: ignore[union-attr]
            parameter.requires_grad_(not frozen)
        optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.99), weight_decay=0.1)
        steps = epochs * EPOCH
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=steps)
        for _ in range(epochs):
            order = loader.order(epoch)
            epoch += 1
            for start in range(0, len(order), 64):
                rows = order[start : start + 64]
                loss = nn.functional.cross_entropy(model(points[rows]), labels[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                if schedule.last_epoch < steps - 1:
                    schedule.step()
    ours = state_at(tmp_path / "run", 3 * EPOCH)
    assert all(torch.equal(ours[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("step", [2, EPOCH, EPOCH + 1, 2 * EPOCH, 3 * EPOCH - 1, 3 * EPOCH])
def test_interrupted_in_any_phase_and_continued(finished: Path, tmp_path: Path, step: int) -> None:
    folder = tmp_path / "run"
    stop = ["callbacks.stop._target_=toy.callbacks.SignalAt", f"callbacks.stop.step={step}"]
    with pytest.raises(RunInterrupted):
        launch([*PHASES, *stop], folder)
    assert Manifest(folder / "checkpoints").entries()[-1].step == step
    launch(["task=fit", f"run={folder}"], folder)
    theirs, ours = state_at(finished, 3 * EPOCH), state_at(folder, 3 * EPOCH)
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())
    assert (folder / "metrics.csv").read_text() == (finished / "metrics.csv").read_text()
    assert RunRecord.read(folder).metrics == RunRecord.read(finished).metrics
    assert RunRecord.read(folder).steps == 3 * EPOCH


def test_a_phase_that_stopped_early_is_not_gone_on_with(tmp_path: Path) -> None:
    """It crashes before the second phase has a checkpoint of its own."""
    early = [
        *PHASES,
        "phases.head.epochs=4",
        "callbacks=early_stopping",
        "callbacks.early_stopping.min_delta=10",
        "callbacks.early_stopping.patience=1",
    ]
    launch(early, tmp_path / "whole")
    crash = [
        "callbacks.crash._target_=toy.callbacks.CrashAt",
        f"callbacks.crash.step={2 * EPOCH + 1}",
        f"callbacks.crash.flag={tmp_path / 'crashed'}",
    ]
    with pytest.raises(ValueError, match="went bad"):
        launch([*early, *crash], tmp_path / "parts")
    launch(["task=fit", f"run={tmp_path / 'parts'}"], tmp_path / "parts")
    whole, parts = (state_at(tmp_path / name, 4 * EPOCH) for name in ("whole", "parts"))
    assert all(torch.equal(parts[name], value) for name, value in whole.items())
    histories = [(tmp_path / name / "metrics.csv").read_text() for name in ("whole", "parts")]
    assert histories[0] == histories[1]


def test_lengths_are_stated_once() -> None:
    with pytest.raises(ConfigError, match=r"trainer\.max_epochs: each of the phases"):
        checked([*PHASES, "trainer.max_epochs=3"])


def test_shares_of_parameters_are_of_one_phase() -> None:
    """Under FSDP a layer that was frozen when it was shared out would never learn."""
    with pytest.raises(ConfigError, match=r"trainer\.strategy: sharded parameters"):
        checked([*PHASES, "trainer=fsdp"])


def test_what_is_wrong_with_the_last_phase_shows_before_the_first(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no layer group -9"):
        launch([*PHASES, "phases.all.freeze_to=-9"], tmp_path / "run")
    assert RunRecord.read(tmp_path / "run").steps is None
    assert not (tmp_path / "run" / "checkpoints" / "manifest.json").exists()


def test_the_order_of_phases_is_part_of_what_a_run_computes() -> None:
    config = checked(PHASES).model_dump(mode="json")
    turned = {**config, "phases": dict(reversed(config["phases"].items()))}
    assert config_hash(config) != config_hash(turned)
    assert config_hash(config) == config_hash({k: config[k] for k in reversed(config)})


def test_a_misspelt_phase_is_no_new_phase(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"phases\.hed: no such phase; did you mean 'head'"):
        launch([*PHASES, "phases.hed.epochs=1"], tmp_path / "run")


@pytest.mark.slow
@pytest.mark.usefixtures("warm_starts")
def test_two_processes_fit_all_phases(tmp_path: Path) -> None:
    """Real DDP on two CPU processes: one folder, every step once, the test on one device."""
    made = train(*PHASES, "trainer=ddp", "trainer.devices=2", "threads=1", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    (folder,) = (tmp_path / "runs" / "default").iterdir()
    record = RunRecord.read(folder)
    assert (record.status, record.device) == ("done", "cpu x 2")
    reports = [int(row["step"]) for row in history(folder) if row["train/loss"]]
    assert reports == list(range(1, record.steps + 1))  # type: ignore[operator]


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("phases.head.freez_to=1", r"did you mean 'phases\.head\.freeze_to'"),
        ("phases.head.epochs=0", r"phases\.head\.epochs: should be greater"),
        ("phases.all.lr=-1", r"phases\.all\.lr: should be greater"),
        ("phases.all.lr_spread.kind=geometrical", r"did you mean 'geometric'"),
        ("phases.all.lr_spread.frst=1", r"phases\.all\.lr_spread\.frst: unknown key"),
    ],
)
def test_faults_of_phases_are_told(override: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        checked([*PHASES, override])
