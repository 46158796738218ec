"""Seeds of the generators that code of a data set may draw from."""

import random

import numpy as np
import torch


def key_of(*numbers: int | None) -> int:
    """Return a seed that is a function of ``numbers``, the same in every process.

    None stands for the seed of an order that is not drawn.
    """
    return hash(tuple(-1 if number is None else number for number in numbers)) % 2**63


def seed_generators(key: int) -> None:
    """Seed torch's generator of the CPU, and the global ones of numpy and Python."""
    torch.default_generator.manual_seed(key)
    np.random.seed(key % 2**32)
    random.seed(key)
