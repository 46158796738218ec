import subprocess
import sys

import pytest

SESSION = """
import atexit, gc, sys
from ablab.command.import_lightning import _ScipySignal, import_lightning

Metaclass = type("Metaclass", (type,), {"__module__": "nanobind"})
atexit.register(lambda: print("at the end", gc.get_freeze_count()))  # called last
import_lightning()
assert gc.isenabled()
print("imported", gc.get_freeze_count())
import torch, torchmetrics
assert float(torchmetrics.MeanMetric()(torch.ones(2))) == 1
assert not [name for name in sys.modules if name.startswith("scipy.signal")]

# a package that asks for more while the stand-in is there
stand_in = sys.modules["scipy.signal"] = _ScipySignal("scipy.signal")
from scipy.signal import convolve
assert sys.modules["scipy.signal"] is not stand_in

import scipy.signal
assert scipy.signal.convolve is convolve
assert len(scipy.signal.windows.hamming(5)) == 5
"""


@pytest.mark.slow
def test_lightning_comes_without_scipy_signal_and_nothing_is_left_that_nanobind_reports() -> None:
    done = subprocess.run([sys.executable, "-c", SESSION], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    at_first, at_the_end = (int(line.split()[-1]) for line in done.stdout.splitlines())
    assert at_first > 100_000
    assert at_the_end == 0
