"""What all figures share: colours, markers, frames, and names shown as they are."""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe & Ito, which differ also to the colour-blind; lines have a dash or a marker each as well
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "os^Dv<>P"
DASHES: tuple[str | tuple[int, tuple[int, ...]], ...] = ("-", "--", ":", (0, (5, 1, 1, 1)))


@contextmanager
def styled() -> Iterator[None]:
    """Around the making of a figure: names are shown as they are, dollars included, and the same
    figure is the same file, whatever a ``matplotlibrc`` says. Also a decorator: ``@styled()``."""
    settings: dict[Any, Any] = {
        "text.parse_math": False,
        "svg.hashsalt": "report",
        "font.size": 9,
        "axes.titlesize": 9,
        "axes.axisbelow": True,
    }
    with (
        matplotlib.style.context(["default", settings], after_reset=True),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # it shows as a box
        yield


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
