"""Random numbers drawn while a module trains, as functions of where the run is."""

import torch

from ablab.data.randomness import key_of, seed_generators


def reseed_torch(device: torch.device, *position: int) -> int:
    """Seed torch's global generators by ``position``, such as (seed, epoch, batch, rank).

    A continued run then draws the same numbers, for dropout say. Returns the seed.
    """
    key = key_of(*position)
    torch.default_generator.manual_seed(key)
    if device.type == "cuda":
        torch.cuda.manual_seed(key)
    return key


def reseed_all(device: torch.device, *position: int) -> None:
    """Seed NumPy's and Python's global generators too: a module may draw from any of them."""
    seed_generators(reseed_torch(device, *position))
