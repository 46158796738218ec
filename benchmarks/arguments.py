"""What the commands of this package take."""

import argparse


def count(text: str) -> int:
    """Raises ArgumentTypeError for what is not a whole number from 1 on."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"should be 1 or more (it is {text})")
    return number
