"""The style that the matplotlib pictures of a report share: ticks and SVG."""

import io
import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

MOST_LINES = 12
MOST_BANDS = 6  # more bands would cover each other


def as_svg(figure: Figure) -> bytes:
    """Return the figure as SVG, without a date, so that the same figure is the same file."""
    text = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none"}):  # text as text: to be read and found
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def rows_id(indices: Iterable[int], part: str) -> str:
    """Return the id of what shows these rows, by which the script of the page finds it."""
    return f"rows-{'-'.join(map(str, indices))}.{part}"


def is_geometric(values: Sequence[float]) -> bool:
    """Return whether sorted values have ratios that are more alike than their differences."""
    if len(values) < 3 or values[0] <= 0:
        return False
    ratios = [math.log(b / a) for a, b in pairwise(values)]
    steps = [b - a for a, b in pairwise(values)]
    return max(ratios) / min(ratios) < max(steps) / min(steps)


def scale_x(axes: Axes, values: Sequence[float]) -> None:
    """Put ticks at ``values``, on a logarithmic axis if they are spaced geometrically."""
    if is_geometric(values):
        axes.set_xscale("log")
    every = math.ceil(len(values) / 10)
    shown = list(values)[::every]
    axes.xaxis.set_major_locator(FixedLocator(shown))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(shown, [f"{value:.3g}" for value in shown])
