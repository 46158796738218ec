import subprocess
import sys

import pytest

SESSION = """
import sys
from ablab.command.import_torchmetrics import _ScipySignal, import_torchmetrics

import_torchmetrics()
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
def test_torchmetrics_comes_without_scipy_signal_which_can_be_had_later() -> None:
    done = subprocess.run([sys.executable, "-c", SESSION], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
