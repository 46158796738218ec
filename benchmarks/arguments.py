"""Types of command-line arguments of the benchmarks."""

import argparse


def count(text: str) -> int:
    """Return a whole number of at least 1. Raise ArgumentTypeError for any other text."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"should be 1 or more (it is {text})")
    return number
