"""Random numbers drawn while a module trains, as functions of where the run is."""

import random

import numpy as np
import torch


def reseed_torch(device: torch.device, *position: int) -> int:
    """Seed torch's global generators by ``position``, such as (seed, epoch, batch, rank).

    A continued run then draws the same numbers, for dropout say. Returns the seed.
    """
    key = hash(position) % 2**63
    torch.default_generator.manual_seed(key)
    if device.type == "cuda":
        torch.cuda.manual_seed(key)
    return key


def reseed_all(device: torch.device, *position: int) -> None:
    """Seed NumPy's and Python's global generators too: a module may draw from any of them."""
    key = reseed_torch(device, *position)
    np.random.seed(key % 2**32)
    random.seed(key)
