"""What code can set for a whole process, and what a later job in it must not find."""

import contextlib
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def kept_state() -> Iterator[None]:
    """Put back torch's defaults and the filters of warnings, as they were before the block."""
    import torch

    dtype, threads = torch.get_default_dtype(), torch.get_num_threads()
    device, precision = torch.get_default_device(), torch.get_float32_matmul_precision()
    detects_anomalies = torch.is_anomaly_enabled()
    try:
        with warnings.catch_warnings():
            yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_num_threads(threads)
        torch.set_default_device(None if device == torch.device("cpu") else device)
        torch.set_float32_matmul_precision(precision)
        torch.autograd.set_detect_anomaly(detects_anomalies)
