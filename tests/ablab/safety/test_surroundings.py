"""What a shell or a scheduler leaves around a run changes neither its numbers nor its record."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ablab.command.user_errors import as_user_error
from ablab.runs.record import RunRecord
from tests import forked
from tests.launch import TINY, TOY, command, environment, train

ONE_EPOCH = [*TINY, "trainer.max_epochs=1", "threads=1"]
HOSTILE = {
    # of a surrounding torchrun, SLURM, LSF or a program that sets them to say "none"
    **dict.fromkeys(("RANK", "GROUP_RANK", "NODE_RANK", "JSM_NAMESPACE_RANK"), "1"),
    "LOCAL_RANK": "-1",
    "WORLD_SIZE": "2",
    "MASTER_ADDR": "nowhere",
    "MASTER_PORT": "abc",
    "SLURM_JOB_ID": "7",
    "SLURM_JOB_NAME": "jupyter",
    "SLURM_NTASKS": "3",
    "SLURM_PROCID": "2",
    "SLURM_LOCALID": "2",
    "SLURM_NODEID": "0",
    "SLURM_NTASKS_PER_NODE": "x",
    "SLURM_ARRAY_TASK_ID": "5",
    # of git, wandb and matplotlib
    "GIT_DIR": "/nowhere",
    "GIT_WORK_TREE": "/",
    "GIT_INDEX_FILE": "/nowhere/index",
    "WANDB_RUN_ID": "x",
    "WANDB_PROJECT": "theirs",
    "WANDB_DIR": "/nowhere",
    "WANDB_MODE": "disabled",
    "WANDB_SWEEP_ID": "s",
    "MPLBACKEND": "inlin",
    "MPLCONFIGDIR": "/nowhere",
    "MATPLOTLIBRC": "/nowhere",
    # of a terminal that is none
    "PYTHONIOENCODING": "ascii",
    "COLUMNS": "0",
    "LINES": "0",
    "TERM": "unknown",
    "LC_ALL": "C",
    "LANG": "C",
    "PL_GLOBAL_SEED": "3",
    "PYTHONHASHSEED": "5",
    "DISPLAY": "nowhere:0",
}


def only_run(cwd: Path) -> Path:
    (record,) = (cwd / "runs").rglob("run.json")
    return record.parent


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cwd = tmp_path_factory.mktemp("undisturbed")
    assert train(*ONE_EPOCH, cwd=cwd).returncode == 0
    return only_run(cwd)


def assert_same_run(folder: Path, undisturbed: Path) -> None:
    ours, theirs = RunRecord.read(folder), RunRecord.read(undisturbed)
    for name in ("status", "error", "config", "config_hash", "metrics", "device", "git", "name"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert (folder / "metrics.csv").read_text() == (undisturbed / "metrics.csv").read_text()


@pytest.mark.slow
def test_a_hostile_environment_changes_nothing(undisturbed: Path, tmp_path: Path) -> None:
    variables = environment(**HOSTILE)
    del variables["HOME"]
    srun = tmp_path / "bin" / "srun"  # Lightning advises to use one that is there
    srun.parent.mkdir()
    srun.write_text("#!/bin/sh\n")
    srun.chmod(0o755)
    variables["PATH"] = f"{srun.parent}{os.pathsep}{variables['PATH']}"
    done = subprocess.run(
        command(*ONE_EPOCH), cwd=tmp_path, env=variables, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert_same_run(only_run(tmp_path), undisturbed)


def close() -> None:
    """As Python does that starts with closed streams."""
    sys.stdin = sys.stdout = sys.stderr = None  # pyright: ignore[reportAttributeAccessIssue]
    os.closerange(0, 3)


def fill() -> None:
    for number in (1, 2):
        os.dup2(os.open("/dev/full", os.O_WRONLY), number)


def leave() -> None:
    """As a reader that has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    for number in (1, 2):
        os.dup2(writer, number)


@pytest.mark.parametrize("first", [close, fill, leave])
def test_an_output_that_takes_nothing_stops_no_run(
    first: Callable[[], None], undisturbed: Path, tmp_path: Path
) -> None:
    with forked.Process(tuple(ONE_EPOCH), tmp_path, environment(), first) as process:
        assert process.wait(timeout=90) == 0
    assert_same_run(only_run(tmp_path), undisturbed)


@pytest.mark.parametrize("unbuffered", ["1", ""])
def test_a_config_that_cannot_be_shown_is_an_error(unbuffered: str, tmp_path: Path) -> None:
    """Here the output is what was asked for."""
    variables = environment(PYTHONUNBUFFERED=unbuffered)
    shell = ["bash", "-c", 'exec "$@" >/dev/full', "bash", *command("--cfg", "job")]
    done = subprocess.run(shell, cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "error: standard output cannot be written (No space left on device)\n"


def test_a_working_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    done = train(*ONE_EPOCH, cwd=gone, first=gone.rmdir)
    told = "error: the working folder has been removed; change to one that is there\n"
    assert (done.returncode, done.stderr) == (2, told)


def test_a_matplotlibrc_does_not_change_a_figure(tmp_path: Path) -> None:
    script = (
        "import io, hashlib; from matplotlib.figure import Figure\n"
        "from ablab.figures import styled\n"
        "with styled():\n"
        "    figure = Figure(); figure.subplots().plot([1, 2], label='a'); file = io.BytesIO()\n"
        "    figure.savefig(file); print(hashlib.sha256(file.getvalue()).hexdigest())"
    )
    drawn = []
    for settings in ("", "text.usetex: True\nlines.linewidth: 9\nbackend: bogus\n"):
        (tmp_path / "matplotlibrc").write_text(settings)
        made = subprocess.run(
            [command()[0], "-c", script],
            cwd=tmp_path,
            env=environment(MPLBACKEND="Agg"),
            capture_output=True,
            text=True,
            check=True,
        )
        drawn.append(made.stdout)
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize(("unbuffered", "shown"), [("", "error\n"), ("1", "error\noutput\n")])
def test_streams_show_a_line_when_python_would(unbuffered: str, shown: str) -> None:
    """What a process that is killed has printed: errors always, all of it under ``python -u``."""
    script = (
        "import os, sys\n"
        "from ablab.safety.streams import prepare_streams, drop_output_errors\n"
        "prepare_streams(); drop_output_errors()\n"
        "print('error', file=sys.stderr); print('output'); os._exit(0)"
    )
    ended = subprocess.run(
        [command()[0], "-c", script],
        env=environment(PYTHONUNBUFFERED=unbuffered),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert ended.stdout == shown


def test_a_warning_that_is_made_an_error_is_a_line() -> None:
    told = as_user_error(DeprecationWarning("use the other one"))
    assert told is not None
    assert "python -W error" in str(told)
    assert "DeprecationWarning: use the other one" in str(told)


@pytest.mark.slow
def test_interpretations_are_nobodys_rank_and_need_no_window(undisturbed: Path) -> None:
    done = subprocess.run(
        [command()[0], "-m", "ablab.interpret", "training_curves", str(undisturbed)],
        cwd=TOY,
        env=environment(**HOSTILE),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert list(undisturbed.rglob("training_curves.png"))
