"""What the pictures of a report share: ticks, names, and how a figure becomes SVG."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

MOST_LINES = 12
MOST_BANDS = 6  # more would cover each other
_LONGEST_NAME = 44


@dataclass(frozen=True)
class Picture:
    title: str
    caption: str
    svg: bytes


def as_svg(figure: Figure) -> bytes:
    text = io.BytesIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def shortened(name: str) -> str:
    """A name that leaves room for the picture, without its middle if it must be."""
    name = " ".join(name.split()) or "all"
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[: _LONGEST_NAME // 2]}…{name[-_LONGEST_NAME // 2 + 1 :]}"


def is_geometric(values: Sequence[float]) -> bool:
    """Whether positive values, in order, have ratios that are more alike than their differences."""
    if len(values) < 3 or values[0] <= 0:
        return False
    ratios = [math.log(b / a) for a, b in pairwise(values)]
    steps = [b - a for a, b in pairwise(values)]
    return max(ratios) / min(ratios) < max(steps) / min(steps)


def scale_x(axes: Axes, values: Sequence[float]) -> None:
    """A logarithmic axis where ``values`` are spaced so, with ticks at the values themselves."""
    if is_geometric(values):
        axes.set_xscale("log")
    every = math.ceil(len(values) / 10)
    shown = list(values)[::every]
    axes.xaxis.set_major_locator(FixedLocator(shown))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(shown, [f"{value:.3g}" for value in shown])
