"""W&B's online mode against a server of our own: whatever it does, the run and its record stand."""

from pathlib import Path

import pytest

from ablab.runs.record import RunRecord
from tests.ablab.trackers.fake_server import Behaviour, FakeServer, Received, fake_server
from tests.ablab.trackers.offline_log import read_offline_run
from tests.checks import only_run
from tests.launch import TINY, train

ONLINE = [
    *TINY,
    "name=trial",
    "logger=default",
    "logger.wandb.mode=online",
    "logger.wandb.init_timeout=3",
    "logger.wandb.finish_timeout=3",
]
KEY = "k" * 40


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> str:
    """``metrics.csv`` of the same run without W&B."""
    folder = tmp_path_factory.mktemp("untracked")
    assert train(*TINY, "name=trial", cwd=folder).returncode == 0
    return (only_run(folder / "runs") / "metrics.csv").read_text()


def run_against(
    server: FakeServer, folder: Path, monkeypatch: pytest.MonkeyPatch, *overrides: str
) -> tuple[RunRecord, Path, str]:
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    done = train(*ONLINE, *overrides, cwd=folder, timeout=60)
    assert done.returncode == 0, done.stderr
    run = only_run(folder / "runs")
    return RunRecord.read(run), run, done.stdout + done.stderr


@pytest.mark.slow
def test_the_server_gets_the_whole_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, history: str
) -> None:
    with fake_server("works") as server:
        record, run, shown = run_against(server, tmp_path, monkeypatch)
    received = server.received
    assert (received.complete, received.exit_code) == (True, 0)
    assert [received.value(k) for k in ("displayName", "groupName")] == ["trial", "trial"]
    assert "seed=0" in received.value("tags")
    assert '"optim":{"value":{' in received.value("config")
    validated = [row for row in received.history if "val/rmse" in row]
    assert [row["_step"] for row in validated] == [26, 52, 78]
    assert received.summary["test/rmse"] == pytest.approx(record.metrics["test"]["rmse"])
    tracker = record.trackers["WandbTracker"]
    assert tracker["mode"] == "online"
    assert tracker["url"] in shown
    assert tracker["url"].startswith(server.url)
    assert (run / "metrics.csv").read_text() == history
    assert_secret_nowhere(tmp_path)


@pytest.mark.slow
def test_the_server_gets_nothing_after_wandb_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wandb").mkdir()
    (tmp_path / "wandb" / "settings").write_text("[default]\nmode = offline\n")  # as it does
    with fake_server("works") as server:
        record, run, _ = run_against(server, tmp_path, monkeypatch, "logger.wandb.mode=auto")
    assert server.received == Received()
    assert record.trackers["WandbTracker"]["mode"] == "offline"
    assert len(list(run.glob("wandb/offline-run-*/*.wandb"))) == 1


@pytest.mark.slow
@pytest.mark.parametrize("behaviour", ["refuses", "breaks", "nonsense", "hangs"])
def test_a_server_that_is_no_use_from_the_start(
    behaviour: Behaviour, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, history: str
) -> None:
    with fake_server(behaviour) as server:
        record, run, shown = run_against(server, tmp_path, monkeypatch)
    assert "W&B cannot be reached" in shown
    assert "the run is tracked offline" in shown
    tracker = record.trackers["WandbTracker"]
    assert tracker["mode"] == "offline"
    assert tracker["error"]
    assert (run / "metrics.csv").read_text() == history
    (kept,) = run.glob("wandb/offline-run-*/*.wandb")
    offline = read_offline_run(kept)
    assert offline.exit_code == 0
    assert offline.summary["test/rmse"] == pytest.approx(record.metrics["test"]["rmse"])
    assert_secret_nowhere(tmp_path)


@pytest.mark.slow
def test_a_server_that_dies_in_the_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_server("dies") as server:
        record, run, shown = run_against(server, tmp_path, monkeypatch, "trainer.max_epochs=5")
    assert server.dead.is_set()
    assert server.received.exit_code is None  # the server never learned the end
    assert record.status == "done"
    assert "W&B could not be finished" in shown
    assert f"wandb sync {run.relative_to(tmp_path)}" in shown
    assert "no answer in 3 s" in record.trackers["WandbTracker"]["error"]
    assert len((run / "metrics.csv").read_text().splitlines()) == 1 + 5 * 26 // 5 + 2 * 5
    (kept,) = run.rglob("*.wandb")
    assert len([row for row in read_offline_run(kept).history if "val/rmse" in row]) == 5


def assert_secret_nowhere(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            assert KEY.encode() not in path.read_bytes(), path
