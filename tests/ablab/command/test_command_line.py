"""The command line as a user meets it: real processes, exit statuses, one-line errors."""

import json
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ablab.runs.checkpoints import Manifest
from tests.checks import learned, only_run, same
from tests.launch import (
    ROOT,
    TINY,
    TOY,
    command,
    environment,
    files_up_to,
    start,
    train,
    wait_for,
)

LONG = [*TINY, "trainer.max_epochs=2000", "checkpoints.every_n_steps=10"]


@pytest.mark.parametrize("arguments", [["--help"], ["--cfg", "job"], ["optim.lr=-1"]])
def test_help_config_and_refusal_do_not_import_torch(arguments: list[str], tmp_path: Path) -> None:
    script = (
        f"import sys, runpy, atexit\n"
        f"sys.argv = ['train.py', *{arguments!r}, 'paths.runs={tmp_path}']\n"
        f"atexit.register(lambda: print('HEAVY', [m for m in sys.modules if m in "
        f"('torch', 'lightning', 'wandb', 'torchmetrics', 'numpy')]))\n"
        f"runpy.run_path({str(ROOT / 'train.py')!r}, run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert "HEAVY []" in done.stdout, done.stdout[-300:] + done.stderr[-300:]


def test_a_group_without_a_choice_is_told_with_its_choices(tmp_path: Path) -> None:
    done = train("model=???", cwd=tmp_path)
    assert done.returncode == 2
    choices = sorted(path.stem for path in (TOY / "conf" / "model").glob("*.yaml"))
    assert done.stderr == f"error: model: choose one with model=NAME: {', '.join(choices)}\n"


def test_a_refused_run_is_told_in_lines_and_leaves_nothing(tmp_path: Path) -> None:
    done = train("trainer.max_epocs=3", "optim.lr=-1", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 3
    assert "'trainer.max_epochs'" in done.stderr
    assert list(tmp_path.iterdir()) in ([], [tmp_path / "runs"])
    assert not list((tmp_path / "runs").glob("*"))
    shown = train("optim.lr=-1", cwd=tmp_path, HYDRA_FULL_ERROR="1")
    assert "Traceback" in shown.stderr


@pytest.mark.parametrize(
    "fault",
    ["name=../../elsewhere/a/b", "name={}/elsewhere/b", "paths.runs='~/x'", "seed=zero"],
)
@pytest.mark.parametrize("multirun", [[], ["-m"]])
def test_nothing_is_made_before_the_check(multirun: list[str], fault: str, tmp_path: Path) -> None:
    place = tmp_path / "in" / "here"
    place.mkdir(parents=True)
    arguments = [*TINY, "paths.runs=new/deep/runs", fault.format(tmp_path)]
    done = train(*multirun, *arguments, cwd=place)
    assert done.returncode == 2, done.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["in", "here"]


def test_a_config_may_refer_to_the_run_folder(tmp_path: Path) -> None:
    done = train(*TINY, "paths.data='${hydra:runtime.output_dir}/x'", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    run = only_run(tmp_path / "runs")
    assert json.loads((run / "run.json").read_text())["config"]["paths"]["data"] == f"{run}/x"


def test_a_file_that_hydra_cannot_read_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "own" / "ablation").mkdir(parents=True)
    file = tmp_path / "own" / "ablation" / "mine.yaml"
    file.write_text("variants:\n  fine: {}\n  null: {optim.lr: 0.1}\n")
    done = train("--config-dir", "own", "-m", "ablation=mine", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == f"error: {file}, line 3: the key null is no name; write it in quotes\n"


def test_the_help_of_the_engine_names_nothing_of_a_project(tmp_path: Path) -> None:
    examples = train("--help", cwd=tmp_path).stdout.partition("Groups (")[0]
    named = re.findall(r"(?:experiment=|ablation=|data=|model=|runs/)(\w+)", examples)
    assert set(named) == {"NAME"}


@pytest.mark.slow
def test_a_remedy_with_a_folder_of_any_name_can_be_pasted(tmp_path: Path) -> None:
    with start(*LONG, "hydra.run.dir='runs/lr=0.1 (ä)'", cwd=tmp_path) as process:
        wait_for_checkpoints(tmp_path / "runs")
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
        output = process.output()
    _, told, remedy = output.partition("continue with: python train.py ")
    assert told, output[-500:]
    _, word = shlex.split(remedy.splitlines()[0])
    assert word == 'run="runs/lr=0.1 (ä)"'
    assert train("task=test", word, cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("multirun", [[], ["-m"]])
def test_a_folder_that_cannot_be_made_is_one_line(multirun: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = train(*multirun, *TINY, "paths.runs=file", cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: file/default/")
    assert "paths.runs=" in line


@pytest.mark.slow
def test_a_disk_that_fills_up_loses_nothing(tmp_path: Path) -> None:
    """No file may grow over 12 KiB, so the checkpoints do not fit; then there is room again."""
    done = train(*TINY, cwd=tmp_path, first=files_up_to(kib=12))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "the checkpoint cannot be written" in line
    folder = only_run(tmp_path / "runs")
    record = json.loads((folder / "run.json").read_text())
    assert (record["status"], record["error"]["type"]) == ("failed", "CheckpointError")
    assert list((folder / "checkpoints").iterdir()) == []  # nothing half-written
    assert train("task=fit", f"run={folder}", cwd=tmp_path).returncode == 0
    assert json.loads((folder / "run.json").read_text())["status"] == "done"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_run_that_goes_on(number: signal.Signals, tmp_path: Path) -> None:
    with start(*LONG, cwd=tmp_path) as process:
        wait_for_checkpoints(tmp_path / "runs")
        process.send_signal(number)
        process.wait(timeout=60)
        output = process.output()
    assert process.returncode == 128 + number, output[-500:]
    folder = only_run(tmp_path / "runs")
    record = json.loads((folder / "run.json").read_text())
    assert (record["status"], record["exit_code"]) == ("interrupted", 128 + number)
    assert f"task=fit run={folder.relative_to(tmp_path)}" in output
    assert Manifest(folder / "checkpoints").newest_that_verifies() is not None


@pytest.mark.slow
def test_killed_and_continued_is_the_undisturbed_run(tmp_path: Path) -> None:
    """``kill -9`` in the middle; the record says running, the checkpoint carries on, bitwise."""
    recipe = [*TINY, "trainer.max_epochs=2", "checkpoints.every_n_steps=7"]
    recipe += ["callbacks.slow._target_=toy.callbacks.Slow", "callbacks.slow.seconds=0.1"]
    recipe += [f"callbacks.slow.until={tmp_path}/go"]
    whole, go = tmp_path / "whole", tmp_path / "go"
    whole.mkdir()
    go.touch()
    assert train(*recipe, cwd=whole).returncode == 0
    go.unlink()
    with start(*recipe, cwd=tmp_path) as process:
        wait_for_checkpoints(tmp_path / "runs")
        process.kill()
    go.touch()
    folder = only_run(tmp_path / "runs")
    assert json.loads((folder / "run.json").read_text())["status"] == "running"
    done = train("task=fit", f"run={folder}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    undisturbed = only_run(whole / "runs")
    assert same(learned(folder), learned(undisturbed))
    assert (folder / "metrics.csv").read_text() == (undisturbed / "metrics.csv").read_text()


def wait_for_checkpoints(runs: Path) -> None:
    def two_are_there() -> bool:
        manifests = list(runs.rglob("manifest.json"))
        return bool(manifests) and len(Manifest(manifests[0].parent).entries()) >= 2

    wait_for(two_are_there)


def test_test_and_predict_from_the_folder_alone(tmp_path: Path) -> None:
    assert train(*TINY, cwd=tmp_path).returncode == 0
    folder = only_run(tmp_path / "runs")
    recorded = json.loads((folder / "run.json").read_text())["metrics"]["test"]
    again = train("task=test", f"run={folder}", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert f"{recorded['rmse']:.4f}" in again.stdout
    assert train("task=predict", f"run={folder}", cwd=tmp_path).returncode == 0
    assert len((folder / "predictions.csv").read_text().splitlines()) == 201
    assert only_run(tmp_path / "runs") == folder
    missing = train("task=test", "run=runs/none", cwd=tmp_path)
    assert missing.returncode == 2
    assert "runs/none" in missing.stderr
    assert not (tmp_path / "runs" / "none").exists()


def test_a_multirun_goes_past_a_failing_job_and_is_reported(tmp_path: Path) -> None:
    done = train("-m", *TINY, "seed=0,1", "data.n_ratings=2000,1", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    records = [json.loads(p.read_text()) for p in (tmp_path / "runs").rglob("run.json")]
    assert sorted(r["status"] for r in records) == ["done", "done", "failed", "failed"]
    failed = next(r for r in records if r["status"] == "failed")
    assert failed["error"]["type"] == "DataError"
    assert len({r["config_hash"] for r in records}) == 4
    report = subprocess.run(
        [sys.executable, "-m", "ablab.report", "--format", "markdown", "runs"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = report.stdout.splitlines()
    head = "| data.n_ratings | test/rmse ↓ | test/mae ↓ | val/rmse ↓ |"
    assert any(line.startswith(head) for line in lines)
    values = [r["metrics"]["test"]["rmse"] for r in records if r["status"] == "done"]
    mean = sum(values) / 2
    row = next(line for line in lines if line.startswith("| 2000 |"))
    assert f"{mean:.4f} ± " in row
    assert "(2)" in row
    assert next(line for line in lines if line.startswith("| 1 |")).startswith("| 1 | failed |")


def test_a_sweep_told_to_stop_stops(tmp_path: Path) -> None:
    with start("-m", *LONG, "seed=0,1", cwd=tmp_path) as process:
        wait_for_checkpoints(tmp_path / "runs")
        process.terminate()
        process.wait(timeout=60)
    assert process.returncode == 143
    records = [json.loads(p.read_text()) for p in (tmp_path / "runs").rglob("run.json")]
    assert sorted(r["status"] for r in records) == ["interrupted", "planned"]


@pytest.mark.parametrize(
    ("key", "meant"),
    [("launcher.jobs_at_time", "jobs_at_a_time"), ("sweeper.trails", "trials")],
)
def test_a_misspelt_key_of_a_launcher_or_sweeper_is_told(
    key: str, meant: str, tmp_path: Path
) -> None:
    chosen = ["hydra/launcher=local", "hydra/sweeper=optuna"]
    done = train("-m", *TINY, *chosen, f"hydra.{key}=2", "seed=0,1", cwd=tmp_path)
    assert done.returncode == 2
    assert f"hydra.{key}: unknown key; did you mean '{meant}'?" in done.stderr


def test_a_key_of_a_launcher_that_is_not_chosen_names_it(tmp_path: Path) -> None:
    done = train("-m", *TINY, "hydra.launcher.jobs_at_a_time=2", "seed=0,1", cwd=tmp_path)
    assert done.returncode == 2
    assert "it belongs to hydra/launcher=local, so choose that too" in done.stderr


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    shell = f"{shlex.join(command('--help'))} | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", shell], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 141)  # 0 where all of it fits into the pipe
    assert done.stderr == ""


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["-m", *TINY, "seed=0,1", "ablation.dry_run=true"], ["data.root=\u00fc(1)"]],
)
def test_a_terminal_without_unicode_gets_question_marks(
    arguments: list[str], tmp_path: Path
) -> None:
    done = subprocess.run(
        command(*arguments),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env=environment(PYTHONIOENCODING="ascii"),
    )
    assert done.returncode == (2 if "(1)" in arguments[0] else 0), done.stderr
    assert "?" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "module", [["ablab.report", "--help"], ["ablab.interpret", "--help"], ["ablab.data", "list"]]
)
def test_the_other_commands_print_without_unicode(module: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *module],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env=environment(PYTHONIOENCODING="ascii"),
    )
    assert done.returncode == 0, done.stderr
