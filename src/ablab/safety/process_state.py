"""What code can set for a whole process, and what a later job in it must not find."""

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def kept_state() -> Iterator[None]:
    """Put back the working folder, torch's defaults and the filters of warnings after the block."""
    accessors, folder = _accessors(), Path.cwd()
    with warnings.catch_warnings(action="ignore"):  # torch 2.9 warns of a getter.
        before = [get() for get, _ in accessors]
    try:
        with warnings.catch_warnings():
            yield
    finally:
        os.chdir(folder)
        with warnings.catch_warnings(action="ignore"):
            for (get, set_back), value in zip(accessors, before, strict=True):
                if get() != value:
                    set_back(value)


def _accessors() -> list[tuple[Callable[[], Any], Callable[[Any], object]]]:
    import torch

    return [
        (torch.get_default_dtype, torch.set_default_dtype),
        (torch.get_default_device, torch.set_default_device),
        (torch.get_num_threads, torch.set_num_threads),
        (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
        (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    ]
