"""The style of all figures: colours, markers, frames, and names without markup."""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe & Ito, which the colour-blind can tell apart; lines differ in dash or marker as well.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# Paul Tol's "muted" and grey: ten that the colour-blind can tell apart, where seven are too few.
MORE_COLOURS = ("#332288", "#88CCEE", "#CC6677", "#117733", "#DDCC77")
MORE_COLOURS += ("#882255", "#44AA99", "#AA4499", "#999933", "#888888")
MARKERS = "os^Dv<>P"
DASHES: tuple[str | tuple[int, tuple[int, ...]], ...] = ("-", "--", ":", (0, (5, 1, 1, 1)))


@contextmanager
def styled(size: float = 9) -> Iterator[None]:
    """Set matplotlib up to draw or save a figure; also a decorator, ``@styled()``.

    ``size`` is that of letters, in points.

    Names are drawn as they are, dollars included, and equal figures give equal files, whatever a
    ``matplotlibrc`` says.
    """
    settings: dict[Any, Any] = {
        "text.parse_math": False,
        "svg.hashsalt": "report",
        "font.size": size,
        "axes.titlesize": size,
        "axes.axisbelow": True,
    }
    with (
        matplotlib.style.context(["default", settings], after_reset=True),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # drawn as a box
        yield


def line_style(index: int) -> dict[str, Any]:
    """Return the colour and dash of a figure's line number ``index``."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "linestyle": DASHES[index // len(COLOURS) % len(DASHES)],
    }


def plain(axes: Axes) -> None:
    """Draw a light grid, and no frame at the top and on the right."""
    axes.grid(color="0.92")
    axes.spines[["top", "right"]].set_visible(False)


def legend_below(figure: Figure, axes: Axes) -> None:
    """Write the names of two or more lines below the axes, in as many columns as fit."""
    handles, labels = axes.get_legend_handles_labels()
    if len(labels) < 2:
        return
    letters = 14 * figure.get_figwidth()  # those that fit side by side
    columns = max(1, min(4, int(letters / (max(map(len, labels)) + 6))))
    rows = math.ceil(len(labels) / columns)
    figure.set_figheight(figure.get_figheight() + 0.19 * rows)
    figure.legend(handles, labels, loc="outside lower left", ncols=columns, frameon=False)
