"""Searches: what is best, what is refused, and that no kill loses a trial or tells it twice."""

import json
import math
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra.core.utils import JobReturn, JobStatus

from ablab.ablation.launch.launch import JobKilled
from ablab.ablation.search.search import Search, SearchSettings
from ablab.ablation.search.study import SearchStudy
from ablab.config.schema.values import read_plugin_settings
from ablab.errors import ConfigError, PlanError, RunFolderError
from ablab.runs.record import RunRecord
from tests.ablab.ablation.searching import SPACE, Killed, Launcher, distance, search, trials


@pytest.mark.parametrize(("mode", "best"), [("min", min), ("max", max)])
def test_the_best_is_what_the_objective_says(
    mode: str, best: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    search(tmp_path, *SPACE, f"objective.mode={mode}", trials=14)
    values = [value for _, value, _ in trials(tmp_path)]
    out = capsys.readouterr().out
    number = values.index(best(values))
    assert f"14 of 14 trials, best val/rmse {best(values):.4f} (trial {number})" in out
    params = trials(tmp_path)[number][2]
    assert (
        f"python train.py -m objective.mode={mode} "
        f"optim.lr={params['optim.lr']:g} model.n_factors={params['model.n_factors']} "
        f"seed=0,1,2,3,4"
    ) in out


def test_a_trial_is_a_job_of_a_plan_and_leaves_the_test_part_unread(tmp_path: Path) -> None:
    search(tmp_path, *SPACE, "seed=3", trials=3)
    plan = json.loads((tmp_path / "s" / "plan.json").read_text())
    assert plan["axes"] == ["optim.lr", "model.n_factors"]
    assert plan["metrics"] == ["val/rmse"]
    for job, (state, value, params) in zip(plan["jobs"], trials(tmp_path), strict=True):
        record = RunRecord.read(tmp_path / "s" / job["folder"])
        assert job["settings"] == record.plan["settings"] == params
        assert record.config["optim"]["lr"] == params["optim.lr"]
        assert (record.config["test"], record.config["seed"]) == (False, 3)
        assert (state, value) == ("COMPLETE", distance(record.config))
    assert "val/rmse over optim.lr" in (tmp_path / "s" / "report.html").read_text()
    search(tmp_path, *SPACE, "seed=3", "test=true", trials=4)
    job = json.loads((tmp_path / "s" / "plan.json").read_text())["jobs"][3]
    assert RunRecord.read(tmp_path / "s" / job["folder"]).config["test"] is True


@pytest.mark.slow
def test_more_trials_are_added_as_if_they_had_been_asked_for_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Search, "report", lambda self: None)
    search(tmp_path / "at once", *SPACE, trials=13)
    launcher = Launcher()
    for total in (5, 12, 12, 13):
        search(tmp_path / "in parts", *SPACE, trials=total, launch=launcher)
    assert trials(tmp_path / "in parts") == trials(tmp_path / "at once")
    assert len(launcher.launched) == 13
    search(tmp_path / "another seed", *SPACE, trials=2, seed=1)
    search(tmp_path / "random", *SPACE, trials=12, sampler="random")
    assert trials(tmp_path / "another seed")[0] != trials(tmp_path / "at once")[0]
    assert trials(tmp_path / "random")[:10] == trials(tmp_path / "at once")[:10]  # begins so
    assert trials(tmp_path / "random")[11] != trials(tmp_path / "at once")[11]


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 3])
def test_killed_at_any_moment_it_goes_on_as_if_it_had_not_been(
    batch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before or after the study draws, adds or is told a trial, at random."""
    monkeypatch.setattr(Search, "report", lambda self: None)  # it takes longer than all else
    search(tmp_path / "whole", *SPACE, trials=13, batch=batch)
    chance = random.Random(3)
    killed_at = []

    def pass_moment(name: str) -> None:
        if chance.random() < 0.15:
            killed_at.append(name)
            raise Killed

    def watched(name: str) -> None:
        act = getattr(SearchStudy, name)

        def watch(self: SearchStudy, *arguments: Any) -> Any:
            pass_moment(f"before {name}")
            result = act(self, *arguments)
            pass_moment(f"after {name}")
            return result

        monkeypatch.setattr(SearchStudy, name, watch)

    for name in ("draw", "add", "tell"):
        watched(name)
    launcher = Launcher()
    ended = False
    while not ended:
        try:
            search(tmp_path / "cut", *SPACE, trials=13, batch=batch, launch=launcher)
            ended = True
        except Killed:
            pass
    assert len(set(killed_at)) == 6, killed_at
    assert trials(tmp_path / "cut") == trials(tmp_path / "whole")
    launched = [name for names in launcher.launched for name in names]
    assert len(launched) == len(set(launched))


def test_a_run_that_was_cut_is_gone_on_with_before_a_new_one_is_drawn(tmp_path: Path) -> None:
    class CutOff(Launcher):
        def run(self, folder: Path) -> JobReturn:
            if len(self.launched) == 3:
                raise Killed
            return super().run(folder)

    with pytest.raises(Killed):
        search(tmp_path, *SPACE, launch=(cut := CutOff()))
    assert [state for state, *_ in trials(tmp_path)] == ["COMPLETE", "COMPLETE", "RUNNING"]
    search(tmp_path, *SPACE, launch=(launcher := Launcher()))
    assert launcher.launched[0] == cut.launched[2]
    assert [state for state, *_ in trials(tmp_path)] == ["COMPLETE"] * 6


def test_a_batch_is_launched_together_and_a_point_once(tmp_path: Path) -> None:
    launcher = Launcher()
    space = "model.n_factors=range(10,31,10)"
    search(tmp_path, space, trials=8, batch=3, launch=launcher)
    assert len(trials(tmp_path)) == 8
    launched = [name for names in launcher.launched for name in names]
    assert len(launched) == len(set(launched)) == 3  # of 8 trials, since there are 3 points
    by_point = {(p["model.n_factors"], value) for _, value, p in trials(tmp_path)}
    assert len(by_point) == 3
    assert len(launcher.launched[0]) > 1


def test_failures_are_told_and_stop_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def value(config: dict[str, Any]) -> float:
        if config["model"]["n_factors"] == 20:
            raise ValueError("the data went bad\nmore about it")
        return math.nan if config["model"]["n_factors"] == 10 else distance(config)

    space = "model.n_factors=10,20,30"
    with pytest.raises(PlanError) as error:
        search(tmp_path, space, trials=12, launch=Launcher(value))
    states = {p["model.n_factors"]: state for state, _, p in trials(tmp_path)}
    assert states == {"10": "FAIL", "20": "FAIL", "30": "COMPLETE"}
    failed = [t for t in trials(tmp_path) if t[0] == "FAIL"]
    assert str(error.value).startswith(f"s: {12 - len(failed)} done, {len(failed)} failed")
    out = capsys.readouterr().out
    assert re.search(r"trial \d+: ValueError: the data went bad\n    log: .*/run.log", out)
    assert re.search(r"trial \d+: val/rmse is nan\n", out)


def test_settings_that_do_not_go_together_are_failed_trials(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space = ["optim=adam,sgd", "optim.lr_spread.kind=uniform,flat", "optim.lr_spread.div=2.0,3.0"]
    with pytest.raises(ConfigError, match="div"):
        search(tmp_path, *space)  # shows at an end of the axes: nothing is run
    assert not (tmp_path / "s").exists()
    space = ["lr_find.first=1e-3,1e-2,1e-1", "lr_find.last=2e-3,2e-2,2e-1"]
    with pytest.raises(PlanError):
        search(tmp_path, *space, trials=12)
    assert {state for state, *_ in trials(tmp_path)} == {"COMPLETE", "FAIL"}
    assert "ConfigError: lr_find.first: should be below lr_find.last" in capsys.readouterr().out


class Killing(Launcher):
    """Its second launch, and so many more, are ended by SIGKILL; that of ``begun`` jobs when their
    records say running, while nobody holds them."""

    def __init__(self, times: int, *, begun: bool) -> None:
        super().__init__()
        self.times, self.begun = times, begun

    def run(self, folder: Path) -> JobReturn:
        record = RunRecord.read(folder)
        if not 2 <= len(self.launched) < 2 + self.times:
            record.status = "planned"
            record.write(folder)
            return super().run(folder)
        if self.begun:
            record.begin()
            record.write(folder)
        error = JobKilled("ended by SIGKILL")
        return JobReturn(status=JobStatus.FAILED, _return_value=error)


@pytest.mark.parametrize("begun", [True, False])
def test_a_job_that_is_killed_is_run_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], begun: bool
) -> None:
    search(tmp_path, *SPACE, trials=4, launch=Killing(1, begun=begun))
    assert [state for state, *_ in trials(tmp_path)] == ["COMPLETE"] * 4
    told = "trial 1: was stopped (ended by SIGKILL); it is run again\n"
    assert told in capsys.readouterr().out


@pytest.mark.parametrize("begun", [True, False])
def test_a_job_that_is_killed_twice_is_left_for_the_same_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], begun: bool
) -> None:
    with pytest.raises(PlanError, match=r"3 done, 1 stopped \(the same command"):
        search(tmp_path, *SPACE, trials=4, launch=Killing(2, begun=begun))
    assert "trial 1: was stopped (ended by SIGKILL)\n" in capsys.readouterr().out
    states = [state for state, *_ in trials(tmp_path)]
    assert states == ["COMPLETE", "RUNNING", "COMPLETE", "COMPLETE"]


def test_a_launcher_that_gives_up_stops_the_search_and_not_its_trials(tmp_path: Path) -> None:
    def broken(jobs: list[list[str]]) -> Sequence[JobReturn]:
        raise RuntimeError("no queue of that name")

    with pytest.raises(PlanError, match=r"launcher failed \(RuntimeError: no queue of that name\)"):
        search(tmp_path, *SPACE, launch=broken)
    search(tmp_path, *SPACE)
    assert [state for state, *_ in trials(tmp_path)] == ["COMPLETE"] * 6


def test_a_run_folder_that_is_gone_is_a_failed_trial(tmp_path: Path) -> None:
    class CutOff(Launcher):
        def run(self, folder: Path) -> JobReturn:
            (folder / "run.json").unlink()
            raise Killed

    with pytest.raises(Killed):
        search(tmp_path, *SPACE, launch=CutOff())
    with pytest.raises(PlanError, match="5 done, 1 failed"):
        search(tmp_path, *SPACE)


REFUSED = [
    ((SPACE[0],), "model.n_factors was 10 … 50 by 10, now 4"),
    (
        (SPACE[0], "model.n_factors=range(10,61,10)"),
        "model.n_factors was 10 … 50 by 10, now 10 … 60",
    ),
    ((*SPACE, "objective.mode=max"), "objective.mode was min, now max"),
    ((*SPACE, "objective.metric=mae"), "objective.metric was rmse, now mae"),
    ((*SPACE, "trainer.max_epochs=9"), "trainer.max_epochs was 5, now 9"),
    ((*SPACE, "seed=1"), "seed was 0, now 1"),
]


@pytest.mark.parametrize(("said", "told"), REFUSED)
def test_another_search_is_refused_under_the_same_name(
    said: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    search(tmp_path, *SPACE, trials=1)
    before = trials(tmp_path)
    with pytest.raises(RunFolderError) as error:
        search(tmp_path, *said, trials=2)
    assert told in str(error.value)
    assert "hydra.sweeper.study=NAME" in str(error.value)
    assert trials(tmp_path) == before
    search(tmp_path, *said, trials=1, study="other")


def test_a_search_needs_a_validation_part(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"add data\.validation_fraction=0\.1"):
        search(tmp_path, *SPACE, "data.validation_fraction=0")


def test_faults_are_found_at_the_ends_of_the_space_and_told_once(tmp_path: Path) -> None:
    space = ["optim.lrr=interval(0,1)", "model.n_factors=interval(1,9)", "optim.lr=interval(-1,1)"]
    with pytest.raises(ConfigError) as error:
        search(tmp_path, *space)
    lines = str(error.value).splitlines()
    assert [line.split(":")[0] for line in lines] == ["optim.lr", "optim.lrr", "model.n_factors"]
    assert "did you mean 'optim.lr'" in lines[1]
    assert "should be a valid integer" in lines[2]


def test_a_damaged_study_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "study.db").write_text("this is no database, whatever its name says" * 99)
    with pytest.raises(RunFolderError, match=r"study\.db: cannot be used \(.*not a database"):
        search(tmp_path, *SPACE)


def test_settings_of_the_sweeper_are_checked() -> None:
    with pytest.raises(ConfigError) as error:
        read_plugin_settings(
            SearchSettings,
            "hydra.sweeper",
            {"study": "a/b", "trials": 0, "sampler": "tp", "seed": 0, "sed": 1},
        )
    lines = sorted(str(error.value).splitlines())
    assert [line.split(":")[0] for line in lines] == [
        f"hydra.sweeper.{key}" for key in ("batch", "sampler", "sed", "study", "trials")
    ]
    assert (lines[0], lines[2]) == (
        "hydra.sweeper.batch: is not set",
        "hydra.sweeper.sed: there is no such key",
    )
