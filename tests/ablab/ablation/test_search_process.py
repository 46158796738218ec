"""A search as a user meets it: real processes, real training, ``kill -9``."""

from pathlib import Path

import pytest

from ablab.runs.record import RunRecord
from tests.ablab.ablation.searching import trials
from tests.launch import TINY, start, train, wait_for

SEARCH = ["-m", *TINY, "hydra/sweeper=optuna"]
RATES = "optim.lr=tag(log,interval(1e-3,1e-1))"


@pytest.mark.slow
def test_a_search_trains_goes_past_failures_and_names_the_best(tmp_path: Path) -> None:
    said = [*SEARCH, RATES, "data.n_ratings=2000,1", "hydra.sweeper.trials=5"]
    done = train(*said, cwd=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    kept = trials(tmp_path / "runs" / "search", "default")
    states = {params["data.n_ratings"]: state for state, _, params in kept}
    assert states == {"2000": "COMPLETE", "1": "FAIL"}
    records = [RunRecord.read(path.parent) for path in tmp_path.rglob("run.json")]
    assert len(records) == 5
    for record in records:
        assert record.status == ("done" if record.config["data"]["n_ratings"] == 2000 else "failed")
        assert "test" not in record.metrics
    best = min(value for _, value, _ in kept if value is not None)
    assert f"5 of 5 trials, best val/rmse {best:.4f}" in done.stdout
    assert "DataError: all 1 training targets are" in done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: default: ")
    assert "failed" in line


def test_a_refused_search_is_told_in_a_line_and_leaves_nothing(tmp_path: Path) -> None:
    done = train(*SEARCH, cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "there is nothing to search" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_killed_again_and_again_it_is_the_undisturbed_search(tmp_path: Path) -> None:
    said = [
        *SEARCH,
        RATES,
        "optim.weight_decay.value=range(0.0,0.35,0.1)",
        "hydra.sweeper.trials=4",
    ]
    said += ["trainer.max_epochs=5", "checkpoints.every_n_steps=10"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    cut.mkdir()
    assert train(*said, cwd=whole, timeout=200).returncode == 0
    for number in (1, 3):  # the trial in whose training the search is killed
        with start(*said, cwd=cut) as process:
            wait_for(lambda n=number: len(list(cut.rglob("manifest.json"))) >= n, timeout=120)
            process.kill()
    last = train(*said, cwd=cut, timeout=200)
    assert last.returncode == 0, last.stdout + last.stderr
    kept = trials(cut / "runs" / "search", "default")
    assert kept == trials(whole / "runs" / "search", "default")
    assert [state for state, *_ in kept] == ["COMPLETE"] * 4
    records = {path.parent.name: RunRecord.read(path.parent) for path in cut.rglob("run.json")}
    assert len(records) == len({tuple(params.items()) for *_, params in kept})
    assert sum(len(record.continued) for record in records.values()) >= 1
