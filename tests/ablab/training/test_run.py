"""Runs from config to record: what they leave, that they repeat, and that they go on."""

import csv
import functools
import itertools
import json
import math
import os
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torchmetrics.classification import BinaryAccuracy

import ablab
from ablab import project
from ablab.command.folders import run_folder
from ablab.errors import CheckpointError, ConfigError, RunFolderError, TrainingError
from ablab.report.table.comparison import Comparison, compare
from ablab.runs import find as saved
from ablab.runs import record
from ablab.runs.checkpoints import Manifest
from ablab.runs.find import saved_config
from ablab.runs.identity import identity
from ablab.runs.record import RunRecord
from ablab.safety.folder_lock import locked
from ablab.safety.signals import RunInterrupted
from ablab.training import evaluation, run
from ablab.training.module import SupervisedModule
from tests.checks import learned, same
from tests.launch import TINY, launch
from tests.permissions import permissions_that_hold

STEPS, EPOCH = 78, 26


def without_clocks(folder: Path) -> dict[str, Any]:
    record = json.loads((folder / "run.json").read_text())
    return {k: record[k] for k in ("metrics", "baselines", "checkpoints", "steps", "config_hash")}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run; tests read it and never write to it."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    launch(TINY, folder)
    return folder


def test_what_a_run_leaves(finished: Path) -> None:
    names = sorted(p.name for p in finished.iterdir())
    assert names == ["checkpoints", "config.yaml", "metrics.csv", "run.json"]
    record = RunRecord.read(finished)
    assert (record.status, record.exit_code, record.steps, record.epochs) == ("done", 0, STEPS, 3)
    assert record.seeds == {"seed": 0, "split": 42, "init": 0, "order": 0}
    assert set(record.metrics["test"]) == {"loss", "rmse", "mae"}
    assert record.metrics["test"]["rmse"] == pytest.approx(
        math.sqrt(record.metrics["test"]["loss"])
    )
    assert {"start", "data", "build", "fit", "test", "total"} - set(record.seconds) <= {"start"}
    assert len(record.git.get("commit", "0" * 40)) == 40


def test_it_is_said_once_why_the_commit_is_not_known(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "git_state", lambda: {"error": "fatal: not a git repository"})
    run._warn_of_no_commit.cache_clear()  # another test may have made it say so
    for name in ("first", "second"):
        launch([*TINY, "trainer.max_epochs=1"], tmp_path / name)
    (message,) = [m for m in caplog.messages if "commit" in m]
    assert message.endswith("will not name the commit of the code: fatal: not a git repository")
    for name in ("first", "second"):
        assert "not a git repository" in RunRecord.read(tmp_path / name).git["error"]


def test_the_history_has_every_report_once(finished: Path) -> None:
    with (finished / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    reports = [int(r["step"]) for r in rows if r["train/loss"]]
    assert reports == list(range(5, STEPS + 1, 5))
    epochs = [int(r["step"]) for r in rows if r["val/rmse"]]
    assert epochs == [EPOCH, 2 * EPOCH, 3 * EPOCH]
    assert [int(r["step"]) for r in rows if r["train/loss_epoch"]] == epochs


def test_the_checkpoint_with_the_best_validation_is_tested(finished: Path) -> None:
    record = RunRecord.read(finished)
    with (finished / "metrics.csv").open() as file:
        values = {
            int(r["step"]): float(r["val/rmse"]) for r in csv.DictReader(file) if r["val/rmse"]
        }
    best = min(values, key=lambda step: values[step])
    assert record.checkpoints["chosen"] == f"step={best:08d}.ckpt"
    assert record.metrics["chosen"]["val/rmse"] == pytest.approx(values[best])


def test_predictions_give_the_recorded_metrics(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    launch(["task=predict", f"run={folder}"], folder)
    with (folder / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["user", "item", "rating", "prediction"]
    errors = [float(r["prediction"]) - float(r["rating"]) for r in rows]
    recorded = RunRecord.read(folder).metrics["test"]
    assert math.sqrt(sum(e * e for e in errors) / len(errors)) == pytest.approx(recorded["rmse"])
    assert sum(map(abs, errors)) / len(errors) == pytest.approx(recorded["mae"])


@pytest.mark.parametrize("precision", ["32-true", "bf16-true"])
@pytest.mark.filterwarnings("ignore:.*LeafSpec")  # Lightning's, which a run filters too
def test_test_metrics_do_not_depend_on_the_batches(finished: Path, precision: str) -> None:
    config = saved.saved_config(finished)
    config.trainer["precision"] = precision
    of_batches = []
    for batch_size in (7, 10_000):
        model, data = ablab.load(finished)
        data.eval_batch_size = batch_size
        of_batches.append(evaluation.test_metrics(config, model, data))
    small, whole = of_batches
    # A loss in bf16 has 8 bits, so it is off by up to 0.4 %; metrics are given float32.
    close = 1e-6 if precision == "32-true" else 4e-3
    assert small["loss"] == pytest.approx(whole["loss"], rel=close)
    assert small["rmse"] == pytest.approx(whole["rmse"], rel=1e-6)
    assert small["mae"] == pytest.approx(whole["mae"], rel=1e-6)


def test_a_few_batches_before_the_first_step_are_no_validation(tmp_path: Path) -> None:
    launch([*TINY, "trainer.max_epochs=1", "trainer.num_sanity_val_steps=1"], tmp_path)
    with (tmp_path / "metrics.csv").open() as file:
        assert [r["step"] for r in csv.DictReader(file) if r["val/rmse"]] == [str(EPOCH)]


def test_metrics_that_agree_on_the_first_rows_are_still_two() -> None:
    """torchmetrics would take them for one from then on."""
    model = SupervisedModule()
    metrics = {"at_half": BinaryAccuracy(0.5), "at_most": BinaryAccuracy(0.9)}
    model.prepare_training(loss=nn.BCEWithLogitsLoss(), metrics={**metrics}, order_seed=0)
    model.evaluation_metrics.update(torch.tensor([0.1, 0.2]), torch.tensor([0, 1]))
    model.evaluation_metrics.reset()
    model.evaluation_metrics.update(torch.tensor([0.7, 0.1]), torch.tensor([1, 0]))
    computed = model.evaluation_metrics.compute()
    assert (float(computed["at_half"]), float(computed["at_most"])) == (1.0, 0.5)


def test_the_same_seed_gives_the_same_run_and_another_does_not(
    finished: Path, tmp_path: Path
) -> None:
    launch(TINY, tmp_path / "again")
    assert same(learned(finished), learned(tmp_path / "again"))
    assert without_clocks(finished) == without_clocks(tmp_path / "again")
    history = [(f / "metrics.csv").read_text() for f in (finished, tmp_path / "again")]
    assert history[0] == history[1]
    launch([*TINY, "seed=1"], tmp_path / "other")
    assert not same(learned(finished), learned(tmp_path / "other"))


def test_seeds_can_be_set_apart(tmp_path: Path) -> None:
    """With no step taken, only seeds.init matters; the order is another matter."""
    from hydra import compose, initialize_config_dir

    from ablab.command.overrides import force_overrides
    from ablab.config.check import check
    from ablab.training.build import build_data, build_model

    def built(*overrides: str) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        with initialize_config_dir(str(project.current().conf), version_base="1.3"):
            config = check(compose("config", overrides=force_overrides([*TINY, *overrides])))
        data = build_data(config)
        return build_model(config, data).state_dict(), data.train_dataloader().order(0)

    start, order = built()
    other_order = built("seeds.order=5")
    other_init = built("seeds.init=5")
    assert same(start, other_order[0])
    assert not torch.equal(order, other_order[1])
    assert not same(start, other_init[0])
    assert torch.equal(order, other_init[1])


def test_equals_a_loop_written_by_hand(finished: Path) -> None:
    """The whole machinery against torch's own AdamW and OneCycleLR in ten lines, bitwise."""
    model, data = ablab.load(finished)
    torch.manual_seed(0)
    model = type(model)(**data.sizes, n_factors=4)
    users, items, ratings = data.parts["train"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, betas=(0.9, 0.99), weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=STEPS)
    loader = data.train_dataloader()
    for epoch in range(3):
        order = loader.order(epoch)
        for start in range(0, len(order), 64):
            rows = order[start : start + 64]
            loss = torch.nn.functional.mse_loss(model(users[rows], items[rows]), ratings[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if schedule.last_epoch < STEPS - 1:
                schedule.step()
    assert same(model.state_dict(), learned(finished))


@pytest.mark.parametrize("step", [1, EPOCH - 1, EPOCH, EPOCH + 1, STEPS - 1])
def test_interrupted_and_continued_is_the_undisturbed_run(
    finished: Path, tmp_path: Path, step: int
) -> None:
    folder = tmp_path / "run"
    stop = ["callbacks.stop._target_=toy.callbacks.SignalAt", f"callbacks.stop.step={step}"]
    with pytest.raises(RunInterrupted) as caught:
        launch([*TINY, *stop], folder)
    assert caught.value.exit_code == 143
    record = RunRecord.read(folder)
    assert (record.status, record.exit_code) == ("interrupted", 143)
    newest = Manifest(folder / "checkpoints").entries()[-1]
    assert newest.step == step
    launch(["task=fit", f"run={folder}"], folder)
    record = RunRecord.read(folder)
    assert (record.status, record.exit_code, len(record.continued)) == ("done", 0, 1)
    assert same(learned(finished), learned(folder))
    assert record.metrics == RunRecord.read(finished).metrics
    assert (folder / "metrics.csv").read_text() == (finished / "metrics.csv").read_text()


def test_a_crash_is_recorded_and_the_run_can_go_on(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    crash = [
        "callbacks.crash._target_=toy.callbacks.CrashAt",
        "callbacks.crash.step=40",
        f"callbacks.crash.flag={tmp_path / 'crashed'}",
    ]
    with pytest.raises(ValueError, match="went bad"):
        launch([*TINY, *crash], folder)
    record = RunRecord.read(folder)
    assert (record.status, record.exit_code) == ("failed", 1)
    assert record.error is not None
    assert record.error["message"] == "the data went bad"
    assert "CrashAt" not in record.error["type"]
    assert "callbacks.py" in record.error["traceback"]
    launch(["task=fit", f"run={folder}"], folder)
    assert same(learned(finished), learned(folder))
    assert (folder / "metrics.csv").read_text() == (finished / "metrics.csv").read_text()


def test_a_damaged_last_checkpoint_is_passed_over(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    stop = ["callbacks.stop._target_=toy.callbacks.SignalAt", "callbacks.stop.step=70"]
    with pytest.raises(RunInterrupted):
        launch([*TINY, *stop], folder)
    newest = Manifest(folder / "checkpoints").entries()[-1]
    (folder / "checkpoints" / newest.file).write_bytes(b"cut")
    with pytest.raises(RunInterrupted):  # it passes step 70 once more
        launch(["task=fit", f"run={folder}"], folder)
    launch(["task=fit", f"run={folder}"], folder)
    assert same(learned(finished), learned(folder))
    assert (folder / "metrics.csv").read_text() == (finished / "metrics.csv").read_text()


def test_a_finished_run_is_left_as_it_is(finished: Path) -> None:
    before = (finished / "run.json").read_bytes()
    value = launch(["task=fit", f"run={finished}"], finished)
    assert value == RunRecord.read(finished).metrics["chosen"]["val/rmse"]
    assert (finished / "run.json").read_bytes() == before


def test_a_finished_run_is_not_written_over(finished: Path) -> None:
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    with pytest.raises(RunFolderError, match=f"a run is there already.*run={finished}"):
        launch(TINY, finished)  # as with hydra.run.dir=FOLDER a second time
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before


def test_a_run_folder_brings_its_own_config(finished: Path) -> None:
    with pytest.raises(ConfigError, match=r"leave out optim\.lr=1"):
        launch(["task=test", f"run={finished}", "optim.lr=1"], finished)


def test_folders_that_are_no_run_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"run\.json"):
        ablab.load(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(RunFolderError, match="not a run record"):
        ablab.load(tmp_path)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("target", [None, "/dev/zero"])
def test_a_record_that_is_no_regular_file_is_refused(tmp_path: Path, target: str | None) -> None:
    """Reading a pipe would wait for ever, and some devices never end."""
    record = tmp_path / "run.json"
    os.mkfifo(record) if target is None else record.symlink_to(target)
    for read in (ablab.load, RunRecord.read, compare_one):
        with pytest.raises(RunFolderError, match=r"run\.json: .*not a regular file"):
            read(tmp_path)


def compare_one(folder: Path) -> Comparison:
    return compare([folder])


@pytest.mark.parametrize("mode", [0, 0o444])
def test_a_run_folder_that_may_not_be_looked_into_is_refused(finished: Path, mode: int) -> None:
    before = finished.stat().st_mode
    finished.chmod(mode)
    try:
        with permissions_that_hold():
            for read in (ablab.load, RunRecord.read, compare_one, run_folder_of):
                with pytest.raises(RunFolderError, match="Permission denied"):
                    read(finished)
    finally:
        finished.chmod(before)


def run_folder_of(folder: Path) -> None:
    with locked(Path(run_folder("runs", "name", str(folder)))):
        RunRecord.read(folder)


def test_predictions_in_a_folder_that_may_not_be_written(finished: Path) -> None:
    told = r"predictions\.csv: cannot be written \(Permission denied\); copy the run folder"
    finished.chmod(0o555)
    try:
        with permissions_that_hold(), pytest.raises(RunFolderError, match=told):
            launch(["task=predict", f"run={finished}"], finished)
    finally:
        finished.chmod(0o755)


def test_a_record_with_a_config_that_is_nested_too_deeply_is_refused(
    finished: Path, tmp_path: Path
) -> None:
    depth = 190  # The parser of JSON takes 200; a hundred are too many for Python 3.11 alone.
    record = RunRecord.read(finished)
    record.config["model"] = functools.reduce(lambda inner, _: {"a": inner}, range(depth), {})
    record.write(tmp_path)
    with pytest.raises(RunFolderError, match="nested too deeply"):
        saved_config(tmp_path)


def test_a_record_without_the_folder_of_data_is_refused(finished: Path, tmp_path: Path) -> None:
    record = RunRecord.read(finished)
    del record.config["paths"]["data"]
    record.write(tmp_path)
    assert identity(record.config)
    with pytest.raises(ConfigError, match=r"paths\.data: is required"):
        saved_config(tmp_path)


def test_a_run_without_a_checkpoint_says_so(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes((finished / "run.json").read_bytes())
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        ablab.load(tmp_path)


def test_without_a_validation_part_nothing_is_chosen(tmp_path: Path) -> None:
    value = launch([*TINY, "data.validation_fraction=0.0"], tmp_path / "run")
    record = RunRecord.read(tmp_path / "run")
    assert value is None
    assert record.checkpoints == dict.fromkeys(("chosen", "last"), f"step={3 * 29:08d}.ckpt")
    assert not any(name.startswith("val/") for name in record.metrics["last"])


def test_a_limit_of_batches_gives_the_steps_it_says(tmp_path: Path) -> None:
    launch([*TINY, "trainer.limit_train_batches=20"], tmp_path / "run")
    assert RunRecord.read(tmp_path / "run").steps == 60


def test_what_was_not_validated_is_not_chosen_by_old_numbers(tmp_path: Path) -> None:
    launch([*TINY, "trainer.max_steps=40"], tmp_path / "run")
    first, last = Manifest(tmp_path / "run" / "checkpoints").entries()
    assert (first.step, last.step) == (EPOCH, 40)
    assert "val/rmse" in first.metrics
    assert "val/rmse" not in last.metrics
    assert RunRecord.read(tmp_path / "run").checkpoints["chosen"] == first.file


def test_it_is_said_that_no_epoch_ended_with_a_validation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    launch([*TINY, "trainer.check_val_every_n_epoch=5"], tmp_path / "run")
    assert "val/rmse was measured at no checkpoint" in capsys.readouterr().out


def test_accumulated_gradients_are_one_step(tmp_path: Path) -> None:
    every_step = ["trainer.accumulate_grad_batches=4", "trainer.log_every_n_steps=1"]
    launch([*TINY, *every_step], tmp_path / "run")
    with (tmp_path / "run" / "metrics.csv").open() as file:
        reports = [int(r["step"]) for r in csv.DictReader(file) if r["train/loss"]]
    assert reports == list(range(1, RunRecord.read(tmp_path / "run").steps + 1))  # type: ignore[operator]


@pytest.mark.parametrize("setting", ["accelerator=gpux", "devices=0", "precision=17"])
def test_what_lightning_refuses_is_told_as_a_fault_of_the_config(
    setting: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"^trainer[.:]"):
        launch([*TINY, f"trainer.{setting}"], tmp_path / "run")


def test_a_loss_that_is_no_number_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="training loss is"):
        launch([*TINY, "optim=sgd", "optim.lr=1e30", "model.y_range=null"], tmp_path / "run")
    assert RunRecord.read(tmp_path / "run").status == "failed"


def test_a_run_that_is_going_on_is_not_continued(tmp_path: Path) -> None:
    crash = ["callbacks.crash._target_=toy.callbacks.CrashAt", "callbacks.crash.step=30"]
    with pytest.raises(ValueError, match="went bad"):
        launch([*TINY, *crash], tmp_path / "run")
    before = (tmp_path / "run" / "run.json").read_bytes()
    with locked(tmp_path / "run"), pytest.raises(RunFolderError, match="a run is going on there"):
        launch(["task=fit", f"run={tmp_path / 'run'}"], tmp_path / "run")
    assert (tmp_path / "run" / "run.json").read_bytes() == before


def test_a_run_without_a_checkpoint_begins_again(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    crash = [
        "callbacks.crash._target_=toy.callbacks.CrashAt",
        "callbacks.crash.step=12",
        f"callbacks.crash.flag={tmp_path / 'crashed'}",
    ]
    with pytest.raises(ValueError, match="went bad"):
        launch([*TINY, *crash], folder)
    launch(["task=fit", f"run={folder}"], folder)
    assert same(learned(finished), learned(folder))
    assert (folder / "metrics.csv").read_text() == (finished / "metrics.csv").read_text()


def test_a_clock_that_is_set_back_an_hour_each_time_it_is_read(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours = itertools.count()
    monkeypatch.setattr(time, "time", lambda: 2e9 - 3600 * next(hours))
    monkeypatch.setattr(
        record, "_now", lambda: datetime.fromtimestamp(time.time(), UTC).isoformat()
    )
    launch(TINY, tmp_path / "run")
    run = RunRecord.read(tmp_path / "run")
    assert (run.status, run.metrics) == ("done", RunRecord.read(finished).metrics)
    assert run.started is not None
    assert run.ended is not None
    assert run.started > run.ended  # what is for people goes by that clock, durations do not
    assert all(seconds >= 0 for seconds in run.seconds.values())


def test_with_test_false_nothing_is_measured_on_the_test_part(tmp_path: Path) -> None:
    launch([*TINY, "test=false"], tmp_path / "untested")
    record = RunRecord.read(tmp_path / "untested")
    assert record.status == "done"
    assert "test" not in record.metrics
    assert "test" not in record.seconds
    assert record.metrics["chosen"]["val/rmse"] > 0
    launch(TINY, tmp_path / "tested")
    assert RunRecord.read(tmp_path / "tested").config_hash == record.config_hash
