"""Draw the times of a comparison as bars, with a stroke for each round."""

import statistics
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ablab.figures import COLOURS, plain, styled
from benchmarks.rounds import Measured

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@styled()
def bars(title: str, measured: Mapping[str, list[Measured]]) -> "Figure":
    """Draw median seconds of the fit and of the rest of the process."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 1.1 + 0.4 * len(measured)), layout="constrained")
    axes = figure.add_subplot()
    names = list(measured)
    for y, runs in enumerate(measured.values()):
        fit = statistics.median(run.fit for run in runs)
        rest = statistics.median(run.process - run.fit for run in runs)
        label = y == 0
        axes.barh(y, fit, 0.6, color=COLOURS[0], label="fit" if label else None)
        axes.barh(
            y, rest, 0.6, left=fit, color="0.8", label="imports, data, test" if label else None
        )
        axes.plot([run.fit for run in runs], [y] * len(runs), "|", color="black", markersize=9)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("seconds; a stroke is the fit of a round")
    axes.set_title(title, loc="left")
    axes.legend(frameon=False)
    plain(axes)
    axes.grid(visible=False, axis="y")
    return figure
