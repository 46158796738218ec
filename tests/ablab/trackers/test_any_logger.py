"""Lightning's loggers beside a run: what reaches them, and that none of their faults costs it."""

import json
import signal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from ablab.config import loggers
from ablab.errors import ConfigError
from ablab.runs.history import read_history
from ablab.runs.record import RunRecord
from ablab.trackers import any_logger
from tests.checks import checked
from tests.launch import TINY, launch, train

LINES = "logger.lines._target_=toy.loggers.Lines"
FAULTY = "logger.faulty._target_=toy.loggers.Faulty"
LEARNED = [
    "interpret.item_biases._target_=toy.interpret.item_biases",
    "interpret.training_curves._target_=ablab.interpret.training_curves.training_curves",
]


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "lines/log.jsonl").read_text().splitlines()]


def history(folder: Path) -> dict[tuple[str, int], float]:
    """Return the values of ``metrics.csv`` by name and step."""
    _, rows = read_history(folder / "metrics.csv")
    return {
        (name, int(row["step"])): float(value)
        for row in rows
        for name, value in row.items()
        if name not in ("step", "epoch") and value
    }


def events(folder: Path) -> Any:
    """Return TensorBoard's own reader of a run's event files."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder / "tensorboard")).Reload()


def scalars(folder: Path) -> list[tuple[str, int, float]]:
    read = events(folder)
    return [
        (tag, event.step, event.value)
        for tag in read.Tags()["scalars"]
        if tag != "epoch"  # which stands in every row
        for event in read.Scalars(tag)
    ]


def assert_whole(read: list[tuple[str, int, float]], folder: Path) -> None:
    """Assert that a logger has what ``metrics.csv`` has, each once, and the test's metrics."""
    wanted = history(folder)
    record = RunRecord.read(folder)
    assert record.steps is not None
    tested = {(f"test/{k}", record.steps): v for k, v in record.metrics["test"].items()}
    assert len(read) == len({(tag, step) for tag, step, _ in read})
    assert {(tag, step): value for tag, step, value in read} == pytest.approx(wanted | tested)


def test_a_logger_gets_the_config_the_metrics_what_was_learned_and_the_end(tmp_path: Path) -> None:
    launch([*TINY, LINES, *LEARNED], tmp_path)
    first, *middle, last = lines(tmp_path)
    assert first["config"]["optim"]["weight_decay"]["mode"] == "decoupled"
    read = [(k, e["step"], v) for e in middle if "step" in e for k, v in e["metrics"].items()]
    read = [of_a_step for of_a_step in read if of_a_step[0] != "epoch"]
    assert_whole(read, tmp_path)
    (table,) = (entry for entry in middle if "table" in entry)
    assert (table["table"], table["columns"]) == ("interpret/item_biases", ["item", "b"])
    assert len(table["rows"]) == 40
    (image,) = (entry for entry in middle if "image" in entry)
    assert image["exists"]
    assert last == {"status": "success"}
    assert RunRecord.read(tmp_path).trackers["lines"] == {"class": "toy.loggers.Lines"}


def test_tensorboard_reads_what_was_logged(tmp_path: Path) -> None:
    launch([*TINY, "logger=tensorboard", *LEARNED], tmp_path)
    assert_whole(scalars(tmp_path), tmp_path)
    tags = events(tmp_path).Tags()
    assert tags["images"] == ["interpret/training_curves_figure"]
    assert tags["tensors"] == ["interpret/item_biases/text_summary"]
    assert "decoupled" in (tmp_path / "tensorboard/hparams.yaml").read_text()


def test_a_run_that_failed_goes_on_in_its_event_files(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It failed in its second epoch, whose steps are logged again."""
    crash = f"callbacks.crash={{_target_: toy.callbacks.CrashAt, step: 40, flag: {tmp_path}.flag}}"
    with pytest.raises(ValueError, match="went bad"):
        launch([*TINY, "logger=tensorboard", LINES, crash], tmp_path)
    assert lines(tmp_path)[-1] == {"status": "failed"}
    launch(["task=fit", f"run={tmp_path}"], tmp_path)
    assert_whole(scalars(tmp_path), tmp_path)
    assert "logger.lines: may have twice what was logged after the checkpoint" in caplog.text


def test_a_faulty_logger_costs_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for limit in ("START_SECONDS", "CALL_SECONDS", "END_SECONDS"):
        monkeypatch.setattr(any_logger, limit, 0.2)
    errors = {
        "raise": "ConnectionError: no such host",
        "exit": "SystemExit: 3",
        "hang": "TimeoutError: no answer in 0 s",
    }
    cases = [(when, how) for when in ("open", "metric", "end") for how in errors]
    nodes = [
        f"logger.{when}_{how}={{_target_: toy.loggers.Faulty, when: {when}, how: {how}}}"
        for when, how in cases
    ]
    launch([*TINY, "trainer.max_epochs=1", LINES, *nodes], tmp_path)
    record = RunRecord.read(tmp_path)
    assert record.status == "done"
    assert lines(tmp_path)[-1] == {"status": "success"}
    for when, how in cases:
        kept = record.trackers[f"{when}_{how}"]
        assert kept["error"] == errors[how]
        assert kept["lost"] >= 1
        assert caplog.text.count(f"logger.{when}_{how} failed") == 1


def test_what_cannot_log_is_refused_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"logger\.w: .*take ablab\.trackers\.WandbTracker"):
        checked(["logger.w._target_=lightning.pytorch.loggers.WandbLogger"])
    with pytest.raises(ConfigError, match=r"logger\.lines\.save_dir: should be a path within"):
        checked([LINES, "logger.lines.save_dir=../elsewhere"])
    with pytest.raises(ConfigError, match=r"logger\.faulty\.when: is required"):
        checked([FAULTY])
    with pytest.raises(ConfigError, match=r"logger\.x\._target_: .* is no Logger"):
        checked(["logger.x._target_=toy.models.Net"])
    monkeypatch.setattr(loggers, "find_spec", lambda name: None)
    config = checked(["logger=tensorboard"])
    with pytest.raises(ConfigError, match=r"pip install 'ablation-lab\[tensorboard\]'"):
        loggers.refuse_missing_packages(config)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("default")
def test_a_killed_run_goes_on_in_each_of_its_trackers(tmp_path: Path) -> None:
    """It is killed 4 steps after a checkpoint; event files and MLflow have each step once."""
    installed = find_spec("mlflow") is not None
    chosen = "logger=[tensorboard,mlflow]" if installed else "logger=tensorboard"
    length = ["trainer.max_epochs=2", "trainer.limit_train_batches=10"]
    at = f"step: 14, number: {signal.SIGKILL.value}, flag: {tmp_path}.flag"
    kill = f"callbacks.kill={{_target_: toy.callbacks.SignalAt, {at}}}"
    overrides = [*TINY, chosen, *LEARNED, "trainer.log_every_n_steps=1", *length, kill]
    first = train(*overrides, f"hydra.run.dir={tmp_path}", cwd=tmp_path.parent, timeout=300)
    assert first.returncode == -signal.SIGKILL, first.stderr
    assert max(step for _, step in history(tmp_path)) == 14
    second = train("task=fit", f"run={tmp_path}", cwd=tmp_path.parent, timeout=300)
    assert second.returncode == 0, second.stderr
    assert_whole(scalars(tmp_path), tmp_path)
    if not installed:
        pytest.skip("MLflow is not installed, so it was left out: pip install mlflow")
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow/mlflow.db")
    (run,) = client.search_runs([e.experiment_id for e in client.search_experiments()])
    assert RunRecord.read(tmp_path).trackers["mlflow"]["id"] == run.info.run_id
    assert (run.info.status, run.info.run_name) == ("FINISHED", "default")
    assert run.data.params["optim/weight_decay/mode"] == "decoupled"
    read = [
        (key, metric.step, metric.value)
        for key in run.data.metrics.keys() - {"epoch"}
        for metric in client.get_metric_history(run.info.run_id, key)
    ]
    assert_whole(read, tmp_path)
    artifacts = {a.path for a in client.list_artifacts(run.info.run_id, "interpret")}
    assert artifacts == {"interpret/item_biases.csv", "interpret/training_curves.png"}
