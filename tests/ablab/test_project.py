"""The project: its commit, and what may be imported from it."""

import shlex
import subprocess
from pathlib import Path

import pytest

from ablab import project
from ablab.command import new_project
from tests.launch import ROOT

AUTHOR = ("-c", "user.name=N", "-c", "user.email=n@example.org")


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with the code in a repository of its own, for which git is asked."""
    folder = tmp_path / "project"
    (folder / "src" / "mine").mkdir(parents=True)
    (folder / "src" / "mine" / "model.py").write_text("# code")
    (folder / "train.py").write_text("# starts a run")
    (folder / ".gitignore").write_text("runs/")
    git("init", "--quiet", cwd=folder)
    git("add", ".", cwd=folder)
    git(*AUTHOR, "commit", "--quiet", "--message", "First", cwd=folder)
    monkeypatch.setattr(project, "_current", project.Project(folder))
    monkeypatch.setattr(project, "git_state", project.git_state.__wrapped__)
    return folder


def git(*arguments: str, cwd: Path) -> str:
    done = subprocess.run(["git", *arguments], cwd=cwd, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_a_clean_clone_has_its_commit(clone: Path) -> None:
    (clone / "runs").mkdir()
    (clone / "runs" / "run.json").touch()  # ignored
    commit = git("rev-parse", "HEAD", cwd=clone)
    assert project.git_state() == {"commit": commit, "dirty": False}


@pytest.mark.parametrize("name", ["model.py", "conf/model/mine.yaml", "src/mine/model.py"])
def test_a_file_that_the_commit_does_not_have_as_it_is_makes_it_dirty(
    clone: Path, name: str
) -> None:
    (clone / name).parent.mkdir(parents=True, exist_ok=True)
    (clone / name).write_text("# new")
    assert project.git_state()["dirty"] is True


def test_an_untracked_file_beside_the_project_does_not(
    clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (clone / "src" / "train.py").touch()
    git("add", ".", cwd=clone)
    git(*AUTHOR, "commit", "--quiet", "--message", "Second", cwd=clone)
    monkeypatch.setattr(project, "_current", project.Project(clone / "src"))
    (clone / "notes.txt").touch()
    assert project.git_state()["dirty"] is False


@pytest.mark.parametrize("variable", ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"])
def test_the_environment_does_not_send_git_elsewhere(
    clone: Path, tmp_path: Path, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = project.git_state()
    monkeypatch.setenv(variable, str(tmp_path / "elsewhere"))
    assert project.git_state() == expected


@pytest.mark.parametrize("way", ["repository", "environment", "user"])
def test_no_monitor_of_files_is_run(
    clone: Path, tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran, program = tmp_path / "ran", tmp_path / "monitor"
    program.write_text(f"#!/bin/sh\ntouch {ran}\n")
    program.chmod(0o755)
    if way == "environment":
        monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
        monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.fsmonitor")
        monkeypatch.setenv("GIT_CONFIG_VALUE_0", str(program))
    else:
        where = "--local" if way == "repository" else "--global"
        git("config", where, "core.fsmonitor", str(program), cwd=clone)
    assert "commit" in project.git_state()
    assert not ran.exists()


def test_a_repository_around_the_project_is_not_taken_for_its_own(clone: Path) -> None:
    git("rm", "--cached", "--quiet", "train.py", cwd=clone)
    assert "train.py" in project.git_state()["error"]


def test_a_machine_without_git_has_no_commit(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(clone))
    assert project.git_state() == {"error": "git is not installed"}


@pytest.mark.skipif(not (ROOT / ".git" / "index").is_file(), reason="is no clone")
def test_asking_for_the_commit_leaves_the_index_alone() -> None:
    """A run that is killed while git writes it leaves a lock that stops the next commit."""
    (ROOT / "LICENSE").touch()  # something that git would note down
    before = (ROOT / ".git" / "index").stat()
    assert project.git_state()["commit"]
    assert (ROOT / ".git" / "index").stat().st_ino == before.st_ino  # not replaced


def test_the_words_of_a_new_project_can_be_pasted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "o'dd dir%"
    new_project.main(["abd", "--folder", str(folder)])
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  cd ")]
    assert shlex.split(line) == ["cd", str(folder)]
