"""Jobs are stopped by signals, whichever thread of the sweep gets them."""

import signal
import subprocess
import threading
import time

import pytest

from ablab.ablation.launch.launch import stop_jobs
from ablab.safety.signals import Interruption, RunInterrupted

DEAF = ["sh", "-c", "trap '' TERM; echo ready; exec sleep 60"]


def test_a_second_signal_that_interrupts_no_system_call_ends_the_wait_for_a_job() -> None:
    with subprocess.Popen(DEAF, stdout=subprocess.PIPE) as job:
        assert job.stdout is not None
        job.stdout.readline()
        other = threading.Thread(target=_be_told)
        try:
            other.start()
            with pytest.raises(RunInterrupted), Interruption():
                stop_jobs([job])
            assert job.poll() is None
        finally:
            job.kill()
            other.join()


def _be_told() -> None:
    time.sleep(0.3)  # The main thread waits for the job by then.
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
