"""Signals: remembered while a step is under way, raised at once otherwise."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import ConfigKeyError

from ablab.runs.checkpoint_files import _Digest
from ablab.runs.checkpoints import Manifest
from ablab.runs.record import RunRecord
from ablab.safety.signals import Interruption, RunInterrupted
from tests.launch import TINY, launch


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, 130),
        (signal.SIGTERM, 143),
        (signal.SIGHUP, 129),
        (signal.SIGUSR1, 138),
    ],
)
def test_raises_at_once_outside_a_fit(number: int, code: int) -> None:
    default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    before = signal.signal(number, default)  # nohup may have started the tests
    try:
        with pytest.raises(RunInterrupted) as caught, Interruption():
            os.kill(os.getpid(), number)
    finally:
        signal.signal(number, before)
    assert caught.value.exit_code == code


def test_a_deferred_signal_waits_and_a_second_one_does_not() -> None:
    with Interruption() as interruption:
        interruption.deferred = True
        interruption.raise_if_requested()
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(RunInterrupted):
            interruption.raise_if_requested()
        with pytest.raises(RunInterrupted):
            os.kill(os.getpid(), signal.SIGTERM)


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with Interruption():
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGHUP])
def test_what_is_to_be_ignored_stays_ignored(number: int) -> None:
    """As nohup has it for SIGHUP."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with Interruption() as interruption:
            os.kill(os.getpid(), number)
            interruption.raise_if_requested()
    finally:
        signal.signal(number, before)


def interrupted_within_a_library() -> None:
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except RunInterrupted:
        raise KeyError("as a library has it") from None


def test_an_error_that_a_signal_has_become_is_told_as_the_signal() -> None:
    with pytest.raises(RunInterrupted) as caught, Interruption():
        interrupted_within_a_library()
    assert caught.value.exit_code == 130


def fails_after_a_signal() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    raise KeyError("a real one")


def test_an_error_of_its_own_stays_one_while_a_signal_waits() -> None:
    interruption = Interruption()
    interruption.deferred = True
    with pytest.raises(KeyError), interruption:
        fails_after_a_signal()


def test_two_signals_in_the_write_of_a_checkpoint_stop_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch makes a RuntimeError of what is raised while it writes."""
    write = _Digest.write

    def interrupted(self: _Digest, data: bytes) -> int:
        if (tmp_path / "checkpoints" / "manifest.json").exists():  # at the second checkpoint
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
        return write(self, data)

    monkeypatch.setattr(_Digest, "write", interrupted)
    with pytest.raises(RunInterrupted) as caught:
        launch(TINY, tmp_path)
    assert caught.value.exit_code == 130
    record = RunRecord.read(tmp_path)
    assert (record.status, record.exit_code, record.error) == ("interrupted", 130, None)
    assert len(Manifest(tmp_path / "checkpoints").entries()) == 1


def test_a_signal_that_omegaconf_makes_an_error_of_its_own_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    structured = OmegaConf.structured

    def raises_its_own(*args: object, **settings: object) -> object:
        if not (tmp_path / "run.json").exists():
            return structured(*args, **settings)
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except RunInterrupted:
            raise ConfigKeyError("list index out of range") from None

    monkeypatch.setattr(OmegaConf, "structured", raises_its_own)
    with pytest.raises(RunInterrupted):
        launch(TINY, tmp_path)
    assert RunRecord.read(tmp_path).status == "interrupted"


def killed_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that stopped after 30 steps, with the record that a SIGKILL there leaves."""
    with pytest.raises(RunInterrupted):
        launch(
            [*TINY, "callbacks.stop._target_=toy.callbacks.SignalAt", "callbacks.stop.step=30"],
            folder,
        )
    killed = replace(RunRecord.read(folder), status="running", exit_code=None, ended=None)
    killed.write(folder)


def test_a_run_that_was_killed_has_taken_no_less_than_its_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reports subtract those from the whole."""
    monkeypatch.setattr("ablab.training.run.seconds_since_start", lambda: 50.0)
    stop = ["callbacks.stop._target_=toy.callbacks.SignalAt", "callbacks.stop.step=30"]
    with monkeypatch.context() as killed:
        killed.setattr("ablab.training.run.Run._write", lambda *_, **__: None)  # as with SIGKILL
        with pytest.raises(RunInterrupted):
            launch([*TINY, *stop], tmp_path)
    assert RunRecord.read(tmp_path).status == "running"
    launch(["task=fit", f"run={tmp_path}"], tmp_path)
    seconds = RunRecord.read(tmp_path).seconds
    assert seconds["start"] == 100
    assert seconds["total"] > 100
    assert list(seconds)[-1] == "total"


@pytest.mark.parametrize(
    "moment", ["ablab.training.tasks.saved_config", "ablab.training.run.Run.read_data"]
)
def test_a_killed_run_that_is_stopped_before_it_goes_on_is_interrupted(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    moment: str,
) -> None:
    killed_run(tmp_path, monkeypatch)
    monkeypatch.setattr(moment, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    capsys.readouterr()
    with pytest.raises(RunInterrupted):
        launch(["task=fit", f"run={tmp_path}"], tmp_path)
    record = RunRecord.read(tmp_path)
    assert (record.status, record.exit_code, record.continued) == ("interrupted", 143, [])
    told = f"interrupted by SIGTERM; continue with: python train.py task=fit run={tmp_path}"
    assert told in capsys.readouterr().out
