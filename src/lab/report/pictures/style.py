"""What the pictures share: colours, ticks, names, and how a figure becomes SVG."""

import io
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

# Okabe & Ito, which differ also to the colour-blind; lines have a dash or a marker each as well
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "os^Dv<>P"
DASHES: tuple[str | tuple[int, tuple[int, ...]], ...] = ("-", "--", ":", (0, (5, 1, 1, 1)))
MOST_LINES = 12
MOST_BANDS = 6  # more would cover each other
_LONGEST_NAME = 44


@dataclass(frozen=True)
class Picture:
    title: str
    caption: str
    svg: bytes


@contextmanager
def styled() -> Iterator[None]:
    """Names are shown as they are, dollars included, and the same figure is the same file."""
    settings: dict[Any, Any] = {
        "text.parse_math": False,
        "svg.hashsalt": "report",
        "font.size": 9,
        "axes.titlesize": 9,
        "axes.axisbelow": True,
    }
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # it shows as a box
        yield


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


def line_style(index: int) -> dict[str, Any]:
    return {
        "color": COLOURS[index % len(COLOURS)],
        "linestyle": DASHES[index // len(COLOURS) % len(DASHES)],
    }


def plain(axes: Axes) -> None:
    axes.grid(color="0.92")
    axes.spines[["top", "right"]].set_visible(False)


def legend_below(figure: Figure, axes: Axes) -> None:
    """Names of the lines under the axes, in as many columns as their length allows."""
    handles, labels = axes.get_legend_handles_labels()
    if len(labels) < 2:
        return
    columns = max(1, min(4, int(100 / (max(map(len, labels)) + 6))))
    rows = math.ceil(len(labels) / columns)
    figure.set_figheight(figure.get_figheight() + 0.19 * rows)
    figure.legend(handles, labels, loc="outside lower left", ncols=columns, frameon=False)


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
