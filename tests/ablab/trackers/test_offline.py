"""W&B without an account: what a run leaves on disk, read back."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb
from wandb.sdk import wandb_setup

from ablab.runs.record import RunRecord
from ablab.safety.folder_lock import refuse_links
from ablab.safety.signals import RunInterrupted
from ablab.trackers import RunInfo, WandbTracker
from tests.ablab.trackers.offline_log import OfflineRun, read_offline_run
from tests.launch import TINY, launch

pytestmark = pytest.mark.timeout(120)
OFFLINE = [*TINY, "logger=default", "logger.wandb.mode=offline"]


@pytest.fixture(autouse=True)
def quiet_wandb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")


def offline_runs(folder: Path) -> list[OfflineRun]:
    """Read the logs of runs that have ended; W&B may write the end a moment after its finish."""
    deadline = time.monotonic() + 20
    while True:
        runs = [read_offline_run(p) for p in sorted(folder.rglob("*.wandb"))]
        if all(run.exit_code is not None for run in runs) or time.monotonic() > deadline:
            return runs
        time.sleep(0.1)


def test_a_run_as_sync_would_send_it(tmp_path: Path) -> None:
    launch([*OFFLINE, "name=trial", "seed=3"], tmp_path / "run")
    (run,) = offline_runs(tmp_path / "run")
    record = RunRecord.read(tmp_path / "run")
    assert (run.name, run.group, run.exit_code) == ("trial", "trial", 0)
    assert "seed=3" in run.tags
    assert f"commit={record.git['commit'][:10]}" in run.tags
    assert run.config["optim"]["weight_decay"] == {"mode": "decoupled", "value": 0.1, "skip": []}
    assert run.config["seeds"]["order"] == 3  # resolved
    reports = {row["_step"]: row["train/loss"] for row in run.history if "train/loss" in row}
    assert list(reports) == list(range(5, 79, 5))
    validated = [row for row in run.history if "val/rmse" in row]
    assert [row["_step"] for row in validated] == [26, 52, 78]
    assert validated[-1]["val/rmse"] == pytest.approx(record.metrics["last"]["val/rmse"])
    assert run.summary["test/rmse"] == pytest.approx(record.metrics["test"]["rmse"])
    assert record.trackers["WandbTracker"]["id"] == run.id
    assert record.trackers["WandbTracker"]["mode"] == "offline"
    refuse_links(tmp_path / "run")  # so that it can be continued


def test_what_was_learned_is_sent_as_tables_and_pictures(tmp_path: Path) -> None:
    steps = {
        "item_biases": "toy.interpret.item_biases",
        "training_curves": "ablab.interpret.training_curves.training_curves",
    }
    nodes = [f"interpret.{name}._target_={target}" for name, target in steps.items()]
    launch([*OFFLINE, *nodes], tmp_path / "run")
    (run,) = offline_runs(tmp_path / "run")
    sent = {key: value for row in run.history for key, value in row.items() if "interpret" in key}
    kinds = {key.split(".")[0]: value for key, value in sent.items() if key.endswith("_type")}
    assert kinds == {
        "interpret/item_biases": "table-file",
        "interpret/training_curves_figure": "image-file",
    }


def test_crashed_and_interrupted_runs_say_so(tmp_path: Path) -> None:
    crash = ["callbacks.crash._target_=toy.callbacks.CrashAt", "callbacks.crash.step=10"]
    with pytest.raises(ValueError, match="went bad"):
        launch([*OFFLINE, *crash], tmp_path / "crashed")
    stop = ["callbacks.stop._target_=toy.callbacks.SignalAt", "callbacks.stop.step=30"]
    with pytest.raises(RunInterrupted):
        launch([*OFFLINE, *stop], tmp_path / "stopped")
    assert [r.exit_code for r in offline_runs(tmp_path / "crashed")] == [1]
    assert [r.exit_code for r in offline_runs(tmp_path / "stopped")] == [143]
    launch(["task=fit", f"run={tmp_path / 'stopped'}"], tmp_path / "stopped")
    first, second = offline_runs(tmp_path / "stopped")
    assert first.id == second.id  # one W&B run, in two pieces
    assert second.exit_code == 0
    steps = [row["_step"] for part in (first, second) for row in part.history]
    assert steps == sorted(set(steps))
    assert steps[-1] == 78


def test_two_jobs_of_one_process_are_two_runs(tmp_path: Path) -> None:
    for seed in (0, 1):
        launch([*OFFLINE, f"seed={seed}", "trainer.max_epochs=1"], tmp_path / str(seed))
    runs = [offline_runs(tmp_path / str(seed))[0] for seed in (0, 1)]
    assert runs[0].id != runs[1].id
    assert [r.config["seed"] for r in runs] == [0, 1]
    assert all(len([h for h in r.history if "val/rmse" in h]) == 1 for r in runs)


def test_auto_is_off_without_a_key_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_ERROR_REPORTING")
    tracker = WandbTracker()
    info = RunInfo(tmp_path, "x", None, (), {})
    with caplog.at_level("INFO"):
        tracker.attach(info)
    tracker.log_metrics({"a": 1.0}, 1)
    tracker.finish(0)
    assert len(caplog.records) == 1
    assert "logger.wandb.mode=offline" in caplog.text
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def fresh_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have wandb read its settings again: it keeps those of its first use."""
    monkeypatch.chdir(tmp_path)
    wandb_setup.teardown()
    yield
    wandb_setup.teardown()


@pytest.mark.usefixtures("fresh_settings")
@pytest.mark.parametrize(
    ("variables", "mode"),
    [
        ({}, "online"),
        ({"WANDB_MODE": "online"}, "online"),
        ({"WANDB_MODE": "run"}, "online"),
        ({"WANDB_MODE": "shared"}, "online"),
        ({"WANDB_MODE": "offline"}, "offline"),
        ({"WANDB_MODE": "dryrun"}, "offline"),
        ({"WANDB_MODE": "disabled"}, "off"),
        ({"WANDB_MODE": "ofline"}, "off"),  # wandb takes no such value
        ({"WANDB_DISABLED": "true"}, "off"),  # of earlier versions, and of transformers
        ({"WANDB_DISABLED": "false"}, "online"),
        ({"WANDB_API_KEY": ""}, "off"),
        ({"WANDB_API_KEY": "", "WANDB_MODE": "offline"}, "offline"),
    ],
)
def test_auto_is_what_wandbs_variables_say(
    variables: dict[str, str], mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ({"WANDB_API_KEY": "x" * 40} | variables).items():
        monkeypatch.setenv(name, value)
    assert WandbTracker().mode == mode
    assert WandbTracker().mode == mode  # also of the second job in a process
    assert [WandbTracker(said).mode for said in ("online", "offline", "off")] == [
        "online",
        "offline",
        "off",
    ]


@pytest.mark.usefixtures("fresh_settings")
@pytest.mark.parametrize("file", ["wandb/settings", ".wandb/settings", "~/.config/wandb/settings"])
@pytest.mark.parametrize(
    ("content", "mode"),
    [
        ("mode = offline", "offline"),
        ("mode = disabled", "off"),
        ("mode = online", "off"),
        (f"api_key = {'x' * 40}", "online"),
        (f"api_key = {'x' * 40}\nmode = dryrun", "offline"),
    ],
)
def test_auto_is_what_wandbs_settings_files_say(
    file: str, content: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_ERROR_REPORTING")  # no variable of wandb's is needed for that
    path = Path(file).expanduser()
    path.parent.mkdir(parents=True)
    path.write_text(f"[default]\n{content}\n")
    assert WandbTracker().mode == mode


@pytest.mark.usefixtures("fresh_settings")
@pytest.mark.parametrize(
    ("host", "base_url", "mode"),
    [
        ("api.wandb.ai", None, "online"),
        ("w.example", None, "off"),
        ("w.example", "https://w.example", "online"),
        ("w.example:8080", "https://w.example:8080", "online"),
    ],
)
def test_a_key_in_netrc_counts_for_its_host(
    host: str, base_url: str | None, mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_ERROR_REPORTING")
    file = tmp_path / "netrc"
    file.write_text(f"machine {host} login user password {'x' * 40}\n")
    file.chmod(0o600)
    monkeypatch.setenv("NETRC", str(file))
    if base_url is not None:
        monkeypatch.setenv("WANDB_BASE_URL", base_url)
    assert WandbTracker().mode == mode


OF_THE_USER = {
    "WANDB_PROJECT": "theirs",
    "WANDB_ENTITY": "team",
    "WANDB_RUN_GROUP": "together",
    "WANDB_TAGS": "a,b",
    "WANDB_NOTES": "for the paper",
    "WANDB_NAME": "mine",
    "WANDB_JOB_TYPE": "trial",
    "WANDB_RUN_ID": "one",
}


def started(info: RunInfo, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> wandb.Settings:
    """What wandb makes of a tracker's arguments and of OF_THE_USER."""
    for name, value in OF_THE_USER.items():
        monkeypatch.setenv(name, value)
    tracker = WandbTracker(mode="offline", **settings)
    tracker.attach(info)
    assert wandb.run is not None
    used = wandb.run.settings
    tracker.finish(0)
    return used


@pytest.mark.usefixtures("fresh_settings")
def test_what_the_config_leaves_open_is_as_wandbs_variables_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = RunInfo(tmp_path, "collab", "collab", ("seed=0",), {})
    used = started(info, monkeypatch)
    assert (used.project, used.entity, used.run_group) == ("theirs", "team", "together")
    assert (used.run_name, used.run_job_type, used.run_id) == ("mine", "trial", "one")
    assert used.run_notes == "for the paper"
    assert set(used.run_tags or ()) == {"seed=0", "a", "b"}


@pytest.mark.usefixtures("fresh_settings")
def test_what_the_config_says_wins_over_wandbs_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = RunInfo(tmp_path, "collab", "collab", (), {})
    used = started(info, monkeypatch, project="ours", entity="us", group="g", notes="n")
    assert (used.project, used.entity, used.run_group) == ("ours", "us", "g")
    assert used.run_notes == "n"


@pytest.mark.usefixtures("fresh_settings")
def test_a_job_of_a_sweep_has_its_own_id_and_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [RunInfo(tmp_path / n, n, "plan", (), {}, in_plan=True) for n in ("lr=1", "lr=2")]
    used = [started(info, monkeypatch) for info in jobs]
    assert [s.run_name for s in used] == ["lr=1", "lr=2"]
    assert len({"one", *(s.run_id for s in used)}) == 3


def test_a_tracker_that_breaks_costs_the_run_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("wandb is down\nwith details")

    monkeypatch.setattr(wandb.Run, "log", broken)
    launch(OFFLINE, tmp_path / "run")
    record = RunRecord.read(tmp_path / "run")
    assert record.status == "done"
    assert "wandb is down" in record.trackers["WandbTracker"]["error"]
    assert caplog.text.count("wandb is down") == 1
