"""Plans as a user runs them: real processes, jobs that fail, and only what is missing is run."""

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ablab.ablation.plan.compose import Job
from ablab.ablation.plan.folder import JobFolder, PlanFolder
from ablab.runs.record import RunRecord
from tests.ablab.report import plan_folders
from tests.checks import checked
from tests.forked import Process
from tests.launch import TINY, launch, start, train, wait_for
from tests.permissions import permissions_that_hold

PLAN = """
claim: decay helps
base:
  model.n_factors: 2
  trainer.accelerator: cpu
  trainer.max_epochs: {epochs}
  callbacks.crash: {{_target_: toy.callbacks.CrashAt, step: {crash_at}, flag: {flag}}}
  logger: {logger}
baseline: none
variants:
  none: {{optim.weight_decay.mode: none}}
  decoupled:
  l2: {{optim.weight_decay.mode: l2}}
seeds: 2
"""


def write_plan(
    tmp_path: Path, *, epochs: int = 2, crash_at: int = -1, flag: str = "null", logger: str = "csv"
) -> list[str]:
    """A plan in a folder of its own, and what makes Hydra find it there."""
    folder = tmp_path / "own" / "ablation"
    folder.mkdir(parents=True, exist_ok=True)
    text = PLAN.format(epochs=epochs, crash_at=crash_at, flag=flag, logger=logger)
    (folder / "tiny.yaml").write_text(text)
    return ["--config-dir", str(tmp_path / "own"), "-m", "ablation=tiny"]


def run_plan(tmp_path: Path, arguments: list[str], *more: str) -> subprocess.CompletedProcess[str]:
    return train(*arguments, *more, cwd=tmp_path)


def records(tmp_path: Path) -> dict[str, dict[str, Any]]:
    folder = tmp_path / "runs" / "ablation" / "tiny"
    plan = json.loads((folder / "plan.json").read_text())
    return {
        f"{job['variant']} {job['seed']}": json.loads(
            (folder / job["folder"] / "run.json").read_text()
        )
        for job in plan["jobs"]
    }


RECKLESS = [*TINY, "trainer.max_epochs=1", "callbacks.own._target_=toy.callbacks.Reckless"]


@pytest.mark.parametrize(
    "launcher", ["serial", "stacked", pytest.param("local", marks=pytest.mark.slow)]
)
@pytest.mark.usefixtures("warm_starts")
def test_a_reckless_job_disturbs_no_later_one(launcher: str, tmp_path: Path) -> None:
    launch([*RECKLESS, "callbacks.own.how=nothing"], tmp_path / "alone")
    jobs = [
        *RECKLESS,
        "callbacks.own.how=leave,fail,remove,change,nothing",
        f"hydra/launcher={launcher}",
    ]
    done = train("-m", *jobs, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    ended = [json.loads(path.read_text()) for path in (tmp_path / "runs").rglob("run.json")]
    by_kind = {record["config"]["callbacks"]["own"]["how"]: record for record in ended}
    assert {kind: record["status"] for kind, record in by_kind.items()} == {
        "leave": "failed",
        "fail": "failed",
        "change": "done",
        "nothing": "done",
    }
    assert by_kind["fail"]["error"]["message"] == r"no file M\udcfcnchen.png"
    alone = RunRecord.read(tmp_path / "alone").metrics
    assert by_kind["nothing"]["metrics"] == by_kind["change"]["metrics"] == alone


def test_a_run_that_calls_sys_exit_has_failed(tmp_path: Path) -> None:
    done = train(*RECKLESS, "callbacks.own.how=leave", cwd=tmp_path)
    assert done.returncode == 1
    assert "SystemExit: 0" in done.stderr


def test_a_dry_run_shows_every_job_and_touches_nothing(tmp_path: Path) -> None:
    done = run_plan(tmp_path, write_plan(tmp_path), "ablation.dry_run=true")
    assert done.returncode == 0, done.stderr
    assert "6 of 6 jobs to run" in done.stdout
    assert done.stdout.count("decoupled_seed") == 2
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_finished_plan_is_done_and_a_new_variant_alone_is_run(tmp_path: Path) -> None:
    plan = [*write_plan(tmp_path, epochs=1), "ablation.seeds=1"]
    first = run_plan(tmp_path, plan)
    assert first.returncode == 0, first.stdout + first.stderr
    assert {r["status"] for r in records(tmp_path).values()} == {"done"}
    ended = {name: r["ended"] for name, r in records(tmp_path).items()}
    file = tmp_path / "own" / "ablation" / "tiny.yaml"
    file.write_text(file.read_text().replace("seeds: 2", "  more: {optim.lr: 0.02}\nseeds: 2"))
    dry = run_plan(tmp_path, plan, "ablation.dry_run=true")
    assert "1 of 4 jobs to run, about " in dry.stdout
    second = run_plan(tmp_path, plan)
    assert "tiny: 1 of 4 jobs to run" in second.stdout
    after = records(tmp_path)
    assert {name: r["ended"] for name, r in after.items() if name in ended} == ended
    file.write_text(file.read_text().replace("  l2: {", "  coupled: {"))
    renamed = run_plan(tmp_path, plan, "ablation.dry_run=true")
    assert "0 of 4 jobs to run" in renamed.stdout  # a new name does not make another run
    assert after["more 0"]["config"]["optim"]["lr"] == 0.02
    folder = tmp_path / "runs" / "ablation" / "tiny"
    for kind in ("md", "csv", "tex", "html"):
        assert "decoupled" in (folder / f"report.{kind}").read_text()


def test_jobs_whose_hashes_begin_alike_have_folders_of_their_own(tmp_path: Path) -> None:
    config = checked([])
    one, other = (
        Job(variant, {}, 0, config, f"01234567{end * 56}", [])
        for variant, end in (("none", "a"), ("l2", "b"))
    )
    record = RunRecord.planned(config.model_dump(mode="json"), [])
    record.config_hash = one.config_hash
    (tmp_path / "before_it_was_renamed_seed0_01234567").mkdir()
    record.write(tmp_path / "before_it_was_renamed_seed0_01234567")
    found = PlanFolder(tmp_path, "p", found_again=True).job_folders([one, other])
    names = ["before_it_was_renamed_seed0_01234567", "l2_seed0_01234567"]
    assert [folder.path.name for folder in found] == names


def test_a_file_that_a_running_job_is_writing_stays(tmp_path: Path) -> None:
    """Its sweep was killed and is started again, while the job is on a cluster."""
    folder = JobFolder(Job("none", {}, 0, checked([]), "0" * 64, []), tmp_path)
    (tmp_path / ".run.json.1.part").touch()
    folder.prepare("p")  # The first time, what a killed sweep has left goes.
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
    (tmp_path / ".run.json.2.part").touch()
    folder.prepare("p")
    assert (tmp_path / ".run.json.2.part").exists()


def test_a_plan_goes_past_failing_jobs_and_tries_again_when_asked(tmp_path: Path) -> None:
    """The first job to get to its tenth step fails, once."""
    plan = write_plan(tmp_path, epochs=1, crash_at=10, flag=str(tmp_path / "flag"))
    plan.append("ablation.seeds=1")
    first = run_plan(tmp_path, plan)
    assert first.returncode == 1, first.stdout + first.stderr
    status = {name: r["status"] for name, r in records(tmp_path).items()}
    assert status.pop("none 0") == "failed"
    assert set(status.values()) == {"done"}
    assert "none seed=0: failed: ValueError: the data went bad" in first.stdout
    log = next(line for line in first.stdout.splitlines() if "log: " in line).split("log: ")[1]
    assert "the data went bad" in (tmp_path / log).read_text()
    again = run_plan(tmp_path, plan)
    assert again.returncode == 1
    assert "0 of 3 jobs to run" in again.stdout
    retried = run_plan(tmp_path, plan, "ablation.retry_failed=true")
    assert retried.returncode == 0, retried.stdout + retried.stderr
    assert "1 of 3 jobs to run" in retried.stdout
    assert {r["status"] for r in records(tmp_path).values()} == {"done"}


FAR = """
base: {data: table, data.path: "${paths.data}/t.csv", data.target: y, logger: csv}
seeds: 1
"""


@pytest.mark.slow
def test_a_wrong_path_can_be_corrected(tmp_path: Path) -> None:
    """Where data lie does not change what a job computes, so it is the same job, and goes on."""
    folder = tmp_path / "own" / "ablation"
    folder.mkdir(parents=True)
    (folder / "far.yaml").write_text(FAR)
    arguments = ["--config-dir", str(tmp_path / "own"), "-m", "ablation=far"]
    assert run_plan(tmp_path, arguments, "paths.data=file").returncode == 1
    (record,) = (tmp_path / "runs" / "ablation" / "far").glob("*/run.json")
    assert json.loads(record.read_text())["config"]["data"]["path"] == "file/t.csv"
    again = run_plan(tmp_path, arguments, "paths.data=other", "ablation.retry_failed=true")
    assert again.returncode == 1
    after = json.loads(record.read_text())
    assert after["config"]["data"]["path"] == "other/t.csv"
    assert "other/t.csv" in after["error"]["message"]


@pytest.mark.slow
def test_a_job_without_a_log_and_a_report_without_a_place_stop_nothing(tmp_path: Path) -> None:
    plan = [*write_plan(tmp_path, epochs=1), "ablation.seeds=1", "paths.runs='[/odd] runs'"]
    folder = tmp_path / "[/odd] runs" / "ablation" / "tiny"
    dry = run_plan(tmp_path, plan, "ablation.dry_run=true")
    name = next(word for word in dry.stdout.split() if word.startswith("none_seed0"))
    (folder / name / "run.log").mkdir(parents=True)
    (folder / "report.md").mkdir()
    done = run_plan(tmp_path, plan)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "none seed=0  failed: IsADirectoryError" in done.stdout
    assert "report.md: cannot be written" in done.stdout + done.stderr
    assert "error: tiny: 2 done, 1 planned" in done.stderr


@pytest.mark.slow
def test_a_damaged_record_is_told_with_what_to_do_and_stops_no_other_job(tmp_path: Path) -> None:
    plan = [*write_plan(tmp_path, epochs=1), "ablation.seeds=1"]
    assert run_plan(tmp_path, plan).returncode == 0
    folder = next((tmp_path / "runs" / "ablation" / "tiny").glob("l2_*"))
    (folder / "run.json").write_text("{")
    (folder.parent / "plan.json").write_text("[" * 10_000 + "]" * 10_000)
    again = run_plan(tmp_path, [*plan[:-1], "ablation.seeds=2"])
    assert again.returncode == 1
    assert again.stderr == "error: tiny: 5 done, 1 unreadable\n"
    assert f"remove runs/ablation/tiny/{folder.name} to run that job again" in again.stdout
    assert (folder / "run.json").read_text() == "{"


@pytest.mark.parametrize("mode", [0, 0o444])
def test_a_job_that_may_not_be_looked_into_is_unreadable_and_left_alone(
    tmp_path: Path, mode: int
) -> None:
    path = plan_folders.write_plan(tmp_path / "p", lambda *_: {"rmse": 1.0}) / "None_seed0"
    folder = JobFolder(None, path)  # type: ignore[arg-type]  # what is looked at is the path
    before = (path / "run.json").read_bytes()
    path.chmod(mode)
    with permissions_that_hold():
        assert folder.status() == "unreadable"
        folder.prepare("p")
    path.chmod(0o755)
    assert (path / "run.json").read_bytes() == before


def test_a_fault_in_one_variant_stops_the_plan_before_anything_runs(tmp_path: Path) -> None:
    plan = write_plan(tmp_path)
    file = tmp_path / "own" / "ablation" / "tiny.yaml"
    file.write_text(file.read_text().replace("mode: l2", "mode: l3"))
    done = run_plan(tmp_path, plan)
    assert done.returncode == 2
    assert "optim.weight_decay.mode: 'l3' is not known" in done.stderr
    assert "(in l2)" in done.stderr
    assert not (tmp_path / "runs").exists()


def waiting_plan(tmp_path: Path) -> tuple[list[str], Path]:
    """Return a plan of one seed whose first job waits after its first checkpoint, and for what."""
    plan, flag = write_plan(tmp_path, epochs=1), tmp_path / "go"
    file = tmp_path / "own" / "ablation" / "tiny.yaml"
    wait = f"{{_target_: toy.callbacks.WaitFor, flag: {flag}, epoch: 1}}"
    longer = f"none: {{trainer.max_epochs: 3, callbacks.wait: {wait}, "
    file.write_text(file.read_text().replace("none: {", longer))
    return [*plan, "ablation.seeds=1"], flag


def wait_for_checkpoint(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "ablation" / "tiny"
    wait_for(lambda: list(folder.glob("*/checkpoints/manifest.json")))


@pytest.mark.slow
def test_yaml_that_is_edited_while_a_plan_runs_changes_nothing(tmp_path: Path) -> None:
    """Also when the plan is killed: only starting it again reads the files anew."""
    plan, flag = waiting_plan(tmp_path)
    with start_plan(tmp_path, plan) as process:
        wait_for_checkpoint(tmp_path)
        file = tmp_path / "own" / "ablation" / "tiny.yaml"
        file.write_text("not: a plan")
        flag.touch()
        process.communicate(timeout=90)
    assert process.returncode == 0
    assert [r["config"]["trainer"]["max_epochs"] for r in records(tmp_path).values()] == [3, 1, 1]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "exit_status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_plan_told_to_stop_stops_and_goes_on(
    number: signal.Signals, exit_status: int, tmp_path: Path
) -> None:
    plan, flag = waiting_plan(tmp_path)
    with start_plan(tmp_path, plan) as process:
        wait_for_checkpoint(tmp_path)
        process.send_signal(number)
        flag.touch()
        process.wait(timeout=60)
        told = process.output()
    assert process.returncode == exit_status
    status = [r["status"] for r in records(tmp_path).values()]
    assert sorted(status) == ["interrupted", "planned", "planned"]
    assert (tmp_path / "runs" / "ablation" / "tiny" / "report.html").exists()
    assert "stopped; the same command runs what is missing" in told
    rest = run_plan(tmp_path, plan)
    assert rest.returncode == 0, rest.stdout + rest.stderr
    first = records(tmp_path)["none 0"]
    assert (first["status"], first["epochs"], len(first["continued"])) == ("done", 3, 1)


@pytest.mark.slow
def test_a_second_process_on_a_plan_is_refused(tmp_path: Path) -> None:
    plan, _ = waiting_plan(tmp_path)
    with start_plan(tmp_path, plan) as process:
        wait_for_checkpoint(tmp_path)
        second = run_plan(tmp_path, plan)
        process.kill()
    assert second.returncode == 2
    assert f"process {process.pid} " in second.stderr


def start_plan(tmp_path: Path, arguments: list[str]) -> Process:
    return start(*arguments, cwd=tmp_path)


@pytest.mark.parametrize("slip", ["base: {{", "base:\n\t- x", "variants: {a: , a: }"])
def test_a_slip_in_the_yaml_of_a_plan_is_one_line(slip: str, tmp_path: Path) -> None:
    plan = write_plan(tmp_path)
    (tmp_path / "own" / "ablation" / "tiny.yaml").write_text(slip)
    done = train(*plan, cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "tiny.yaml" in line
    assert ", line " in line


def test_a_plan_without_minus_m_says_what_to_type(tmp_path: Path) -> None:
    arguments = [a for a in write_plan(tmp_path) if a != "-m"]
    done = train(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert "python train.py -m ablation=NAME" in done.stderr
