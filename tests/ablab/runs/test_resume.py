"""Continuing a run: longer where it is the same run, and refused where something was changed."""

import json
import os
import shutil
import signal
from hashlib import sha256
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
import torch
from torch import nn

import ablab
from ablab.data.fingerprints import of_tensors
from ablab.errors import CheckpointError, ConfigError, RunFolderError
from ablab.runs.checkpoint_io import AtomicCheckpointIO
from ablab.runs.checkpoints import Manifest, load_checkpoint
from ablab.runs.record import RunRecord
from ablab.safety.signals import RunInterrupted
from tests.checks import assert_same_run
from tests.launch import PHASES, TINY, launch, train
from toy.data import Ratings
from toy.models import Factors

CONSTANT = [*TINY, "trainer.max_epochs=2", "schedule=constant"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs at a constant rate; tests work on copies."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    launch(CONSTANT, folder)
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The undisturbed run of four epochs."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    launch([*CONSTANT, "trainer.max_epochs=4"], folder)
    return folder


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "run")


@pytest.fixture
def unfinished(copy: Path) -> Path:
    """As if its last second had been lost."""
    change_record(copy, lambda record: record.update(status="interrupted"))
    return copy


def change_record(folder: Path, change: Any) -> None:
    record = json.loads((folder / "run.json").read_text())
    change(record)
    (folder / "run.json").write_text(json.dumps(record))


def go_on(folder: Path, *overrides: str) -> None:
    launch(["task=fit", f"run={folder}", *overrides], folder)


def test_a_finished_run_becomes_a_longer_one(whole: Path, copy: Path) -> None:
    go_on(copy, "trainer.max_epochs=4")
    assert_same_run(whole, copy)
    ours, theirs = RunRecord.read(copy), RunRecord.read(whole)
    assert (ours.status, ours.epochs, len(ours.continued)) == ("done", 4, 1)
    assert (ours.config, ours.config_hash) == (theirs.config, theirs.config_hash)
    before = (copy / "run.json").read_bytes()
    go_on(copy, "trainer.max_epochs=4")
    assert (copy / "run.json").read_bytes() == before  # there is nothing left to do


def test_a_run_becomes_longer_while_it_is_not_finished(whole: Path, tmp_path: Path) -> None:
    stop = ["callbacks.stop._target_=toy.callbacks.SignalAt", "callbacks.stop.step=30"]
    with pytest.raises(RunInterrupted):
        launch([*CONSTANT, *stop], tmp_path)
    go_on(tmp_path, "trainer.max_epochs=4")
    assert_same_run(whole, tmp_path)


def test_a_run_of_two_processes_is_not_continued_by_one(tmp_path: Path) -> None:
    """``trainer.devices=auto`` can find another number of GPUs than before."""
    stop = ["callbacks.stop._target_=toy.callbacks.SignalAt", "callbacks.stop.step=30"]
    with pytest.raises(RunInterrupted):
        launch([*CONSTANT, *stop], tmp_path)
    change_record(tmp_path, lambda record: record.update(device="cuda:0 x 2 (NVIDIA H100)"))
    with pytest.raises(RunFolderError, match=r"trainer\.devices: the run has had 2 processes"):
        go_on(tmp_path)


def test_a_run_of_one_process_is_not_continued_by_two(unfinished: Path) -> None:
    with pytest.raises(ConfigError, match=r"leave out trainer\.devices=2 \(the run has 1\)"):
        go_on(unfinished, "trainer.devices=2")
    by_torchrun = {"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}
    refused = train("task=fit", f"run={unfinished}", cwd=unfinished, **by_torchrun)
    assert refused.returncode == 2
    assert "torchrun has started 2 processes, but one is asked for" in refused.stderr


def test_a_run_in_64_bits_goes_on_bitwise(tmp_path: Path) -> None:
    recipe = [*CONSTANT, "trainer.precision=64-true"]
    stop = ["callbacks.stop._target_=toy.callbacks.SignalAt", "callbacks.stop.step=30"]
    launch(recipe, tmp_path / "whole")
    with pytest.raises(RunInterrupted):
        launch([*recipe, *stop], tmp_path / "parts")
    go_on(tmp_path / "parts")
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    model, _ = ablab.load(tmp_path / "parts")
    chosen = RunRecord.read(tmp_path / "parts").checkpoints["chosen"]
    saved = load_checkpoint(tmp_path / "parts" / "checkpoints" / str(chosen))["state_dict"]
    assert all(torch.equal(value, saved[name]) for name, value in model.state_dict().items())
    assert {value.dtype for value in saved.values()} == {torch.float64}


def test_a_run_whose_lengthening_was_stopped_between_its_writes_can_be_continued(
    whole: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> None:
        raise RunInterrupted(signal.SIGINT)

    monkeypatch.setattr("ablab.runs.record.write_config", stopped)
    with pytest.raises(RunInterrupted):
        go_on(copy, "trainer.max_epochs=4")
    monkeypatch.undo()
    go_on(copy)
    assert_same_run(whole, copy)
    assert (copy / "config.yaml").read_bytes() == (whole / "config.yaml").read_bytes()


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "linear"])
def test_other_schedules_have_one_length(tmp_path: Path, schedule: str) -> None:
    launch([*CONSTANT, f"schedule={schedule}", "trainer.limit_train_batches=2"], tmp_path)
    before = (tmp_path / "run.json").read_bytes()
    with pytest.raises(RunFolderError, match=f"schedule {schedule} is a function of") as told:
        go_on(tmp_path, "trainer.max_epochs=4")
    command = str(told.value).splitlines()[-1]
    assert command.startswith("a new run: python train.py trainer.accelerator=cpu ")
    assert command.endswith(" trainer.limit_train_batches=2 trainer.max_epochs=4")
    assert (tmp_path / "run.json").read_bytes() == before


def test_a_schedule_with_a_stable_part_becomes_longer_from_there(tmp_path: Path) -> None:
    """Of a finished run that is a checkpoint from before its decay."""
    stable = [
        *(*CONSTANT, "schedule=warmup_stable_decay", "schedule.warmup=3", "schedule.decay=0.4"),
        *("checkpoints.keep=9", "trainer.limit_train_batches=4"),
    ]
    launch([*stable, "trainer.max_epochs=4"], tmp_path / "whole")
    launch(stable, tmp_path / "parts")
    go_on(tmp_path / "parts", "trainer.max_epochs=4")
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    assert [e.step for e in Manifest(tmp_path / "parts" / "checkpoints").entries()] == [
        4,
        8,
        12,
        16,
    ]


@pytest.mark.parametrize(
    ("change", "epochs", "told"),
    [
        ({}, 1, "can be continued to more, not to 1"),
        ({"plan": {"name": "p", "variant": "v", "settings": {}}}, 4, "as long as its plan says"),
        ({"epochs": 1}, 4, "stopped early, after epoch 1 of 2, and would again"),
    ],
)
def test_what_cannot_be_longer(copy: Path, change: dict[str, Any], epochs: int, told: str) -> None:
    change_record(copy, lambda record: record.update(change))
    with pytest.raises(RunFolderError, match=told):
        go_on(copy, f"trainer.max_epochs={epochs}")


def test_phases_keep_their_lengths(tmp_path: Path) -> None:
    launch([*PHASES, "trainer.limit_train_batches=1"], tmp_path)
    with pytest.raises(RunFolderError, match="phases has a length of its own"):
        go_on(tmp_path, "trainer.max_epochs=9")


def test_settings_that_differ_are_listed_and_others_do_not_matter(copy: Path) -> None:
    go_on(copy, "optim.lr=0.005", "schedule=constant", "loading.batch_size=64")
    with pytest.raises(ConfigError) as told:
        go_on(copy, "optim.lr=1", "seed=0", "schedule=step", "loading.batch_size=8")
    assert str(told.value) == (
        "run: a run folder brings its own config; leave out optim.lr=1 (the run has 0.005), "
        "schedule=step (another schedule.name, schedule.milestones, schedule.gamma), "
        "loading.batch_size=8 (the run has 64)"
    )


def test_a_config_that_was_changed_in_the_folder_is_told(unfinished: Path) -> None:
    file = unfinished / "config.yaml"
    original = file.read_text()
    file.write_text(
        original.replace("lr: 0.005", "lr: 0.5").replace("n_factors: 4", "n_factors: 5")
    )
    with pytest.raises(RunFolderError) as told:
        go_on(unfinished)
    assert str(told.value).splitlines()[1:-1] == [
        "model.n_factors: 4 in run.json, 5 in config.yaml",
        "optim.lr: 0.005 in run.json, 0.5 in config.yaml",
    ]
    file.write_text(original)
    change_record(unfinished, lambda r: r["config"]["optim"]["weight_decay"].update(mode="l2"))
    with pytest.raises(RunFolderError, match=r"weight_decay\.mode: 'l2' in run\.json, 'decoupled'"):
        go_on(unfinished)
    file.unlink()
    with pytest.raises(RunFolderError, match="does not match its config_hash"):
        go_on(unfinished)


def test_a_config_that_was_cut_is_told(unfinished: Path) -> None:
    whole = (unfinished / "config.yaml").read_text()
    (unfinished / "config.yaml").write_text(whole[: len(whole) // 2])
    with pytest.raises(RunFolderError, match=r"config\.yaml: lacks paths; remove it, and the run"):
        go_on(unfinished)
    (unfinished / "config.yaml").unlink()
    go_on(unfinished)
    assert (unfinished / "config.yaml").read_text() == whole


BOMB = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{f'*a{i - 1},' * 9}]\n" for i in range(1, 30))


@pytest.mark.parametrize(
    "text",
    [
        *(b"a: [", b"7", b"\xff", b"a: ${b", b"", b"- a", b"a: " + b"[" * 2000 + b"]" * 2000),
        BOMB.encode(),
    ],
)
def test_a_config_that_cannot_be_read_is_told(unfinished: Path, text: bytes) -> None:
    (unfinished / "config.yaml").write_bytes(text)
    with pytest.raises(RunFolderError, match=r"config\.yaml: (cannot be read|has YAML|lacks)"):
        go_on(unfinished)


@pytest.mark.timeout(60)
def test_a_pipe_in_place_of_the_config_is_told(unfinished: Path) -> None:
    (unfinished / "config.yaml").unlink()
    os.mkfifo(unfinished / "config.yaml")
    with pytest.raises(RunFolderError, match=r"config\.yaml: is a pipe"):
        go_on(unfinished)


def test_what_a_kill_left_half_written_is_removed_when_the_run_is_started_again(copy: Path) -> None:
    (copy / ".run.json.0123.part").write_text("{")
    go_on(copy)
    assert not list(copy.glob(".*.part"))


def test_where_data_lie_may_change(unfinished: Path) -> None:
    change_record(unfinished, lambda record: record["config"]["paths"].update(data="elsewhere"))
    go_on(unfinished)
    assert RunRecord.read(unfinished).status == "done"


def test_other_rows_are_refused(unfinished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ordinary = Ratings.setup

    def fewer(data: Ratings) -> None:
        data.parts["train"] = tuple(column[:-1] for column in data.parts["train"])

    def other(data: Ratings) -> None:
        data.parts["train"][-1][0] += 1

    for change in (fewer, other):

        def setup(self: Ratings, stage: str, change: Any = change) -> None:
            if not self.parts:
                ordinary(self, stage)
                change(self)

        with monkeypatch.context() as changed:
            changed.setattr(Ratings, "setup", setup)
            with pytest.raises(RunFolderError, match="these differ\n") as told:
                go_on(unfinished)
        assert any(
            " rows (crc32 " in line and " when the run began, " in line
            for line in str(told.value).splitlines()
        )
    go_on(unfinished)
    assert RunRecord.read(unfinished).status == "done"


def test_a_finished_run_that_is_refused_other_rows_stays_finished(copy: Path) -> None:
    change_record(copy, lambda r: r["data_parts"]["train"].update(crc32="00000000"))
    before = {f: f.read_bytes() for f in copy.rglob("*") if f.is_file()}
    with pytest.raises(RunFolderError, match=r"train: .* when the run began"):
        go_on(copy, "trainer.max_epochs=4")
    assert {f: f.read_bytes() for f in copy.rglob("*") if f.is_file()} == before


def test_rows_are_told_by_their_content_whatever_their_layout() -> None:
    table = torch.arange(12.0).reshape(4, 3)
    column, copy = table[:, 1], table[:, 1].clone()
    one = table[1:2, 1]  # of one row, whose step is not 1
    of_column = {"rows": 4, "crc32": f"{crc32(copy.numpy()):08x}"}
    of_one = {"rows": 1, "crc32": f"{crc32(copy[1:2].numpy()):08x}"}
    assert of_tensors([column]) == of_tensors([copy]) == of_column
    assert of_tensors([one]) == of_tensors([one.clone()]) == of_one
    assert of_tensors([copy.bfloat16()])["rows"] == 4


def test_another_model_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its code has changed: nothing of the config has."""
    stop = ["callbacks.stop._target_=toy.callbacks.SignalAt", "callbacks.stop.step=30"]
    with pytest.raises(RunInterrupted):
        launch([*CONSTANT, *stop], tmp_path)
    ordinary = Factors.__init__

    def larger(self: Factors, **sizes: Any) -> None:
        ordinary(self, **sizes)
        self.extra = nn.Linear(2, 2)

    monkeypatch.setattr(Factors, "__init__", larger)
    with pytest.raises(CheckpointError, match=r"is not of this model.*(?s:.*)extra\.weight"):
        go_on(tmp_path)
    assert Manifest(tmp_path / "checkpoints").entries()[-1].step == 30


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda w: w.fill_(torch.nan), "i_bias.weight is not finite in 40 of 40 values"),
        (lambda w: w.index_fill(0, torch.tensor([3]), torch.inf), "not finite in 1 of 40"),
        (lambda w: w.to(torch.complex64), "i_bias.weight is torch.complex64, not torch.float32"),
        (lambda w: w.to(torch.int8), "i_bias.weight is torch.int8, not torch.float32"),
        (lambda w: None, "is not of this model"),
    ],
)
def test_what_cannot_be_weights_is_refused(copy: Path, change: Any, told: str) -> None:
    chosen = copy / "checkpoints" / str(RunRecord.read(copy).checkpoints["chosen"])
    content = load_checkpoint(chosen)
    content["state_dict"]["i_bias.weight"] = change(content["state_dict"]["i_bias.weight"])
    AtomicCheckpointIO().save_checkpoint(content, chosen)
    with pytest.raises(CheckpointError, match=told):
        ablab.load(copy)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ([1, 2], "is not a checkpoint but a list"),
        ({"global_step": 52, "epoch": 2}, "holds no state dict"),
        ({"state_dict": [1]}, "holds no state dict"),
        ({"state_dict": {1: torch.zeros(1)}}, "holds no state dict"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_refused(copy: Path, content: Any, told: str) -> None:
    """Although the manifest lists it with its digest."""
    chosen = copy / "checkpoints" / str(RunRecord.read(copy).checkpoints["chosen"])
    torch.save(content, chosen)
    relist(chosen)
    with pytest.raises(CheckpointError, match=told):
        ablab.load(copy)


def test_a_checkpoint_without_the_state_of_a_fit_is_not_gone_on_from(tmp_path: Path) -> None:
    stop = ["callbacks.stop._target_=toy.callbacks.SignalAt", "callbacks.stop.step=30"]
    with pytest.raises(RunInterrupted):
        launch([*CONSTANT, *stop], tmp_path)
    newest = tmp_path / "checkpoints" / Manifest(tmp_path / "checkpoints").entries()[-1].file
    content = load_checkpoint(newest)
    del content["optimizer_states"], content["loops"]
    torch.save(content, newest)
    relist(newest)
    with pytest.raises(CheckpointError, match=r"it lacks optimizer_states, loops"):
        go_on(tmp_path)


def relist(checkpoint: Path) -> None:
    """Write the digest that ``checkpoint`` has now into its folder's manifest."""
    manifest = checkpoint.parent / "manifest.json"
    listed = json.loads(manifest.read_text())
    for entry in listed["checkpoints"]:
        if entry["file"] == checkpoint.name:
            entry["sha256"] = sha256(checkpoint.read_bytes()).hexdigest()
    manifest.write_text(json.dumps(listed))


def test_a_folder_of_runs_is_told_from_a_run(tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "run.json").touch()
    with pytest.raises(RunFolderError, match=r"name one of the runs in it, such as .*second"):
        RunRecord.read(tmp_path)
