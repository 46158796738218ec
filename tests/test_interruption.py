"""Signals: remembered while a step is under way, raised at once otherwise."""

import os
import signal

import pytest

from lab.interruption import Interruption, RunInterrupted


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_raises_at_once_outside_a_fit(number: int, code: int) -> None:
    with pytest.raises(RunInterrupted) as caught, Interruption():
        os.kill(os.getpid(), number)
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
