"""The picture of a learning-rate range test; only this module imports matplotlib."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ablab.figures import COLOURS, plain
from ablab.safety.atomic_files import atomic_write
from ablab.training.range_test.curve import LrCurve


def plot_curve(curve: LrCurve, suggestion: float | None, title: str, path: Path) -> None:
    """Write a PNG of the raw and the smoothed loss over the rate, with the suggested rate."""
    # A Figure without pyplot has no global state and looks for no window system.
    figure = Figure(figsize=(7.2, 4.6), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xscale("log")
    axes.plot(curve.lrs, curve.losses, color="0.7", linewidth=1, label="loss of the batch")
    axes.plot(curve.lrs, curve.smoothed, color="black", linewidth=1.8, label="smoothed")
    axes.set_ylim(*_limits(curve))
    first = _first_shown(curve)
    cut = f" (flat below {first:.0e}: not shown)" if first > curve.lrs[0] else ""
    axes.set_xlim(left=first if cut else None)
    if suggestion is not None:
        loss = float(np.interp(np.log(suggestion), np.log(curve.lrs), curve.smoothed))
        label = f"suggested: {suggestion:.2g}"
        axes.axvline(suggestion, color=COLOURS[0], linewidth=1, linestyle="--")
        axes.plot([suggestion], [loss], "o", color=COLOURS[0], markersize=8, label=label, zorder=5)
    axes.set_xlabel(f"learning rate of the last layer group{cut}")
    axes.set_ylabel("training loss")
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_axisbelow(True)
    plain(axes)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=150)


def _first_shown(curve: LrCurve) -> float:
    """Return the rate a decade below that from which the loss falls, rounded down.

    Below it the curve is flat, and half of the picture would show nothing.
    """
    lowest = min(curve.smoothed)
    high = [loss > lowest + 0.9 * (curve.smoothed[0] - lowest) for loss in curve.smoothed]
    before = high[: curve.smoothed.index(lowest)]
    if True not in before:
        return curve.lrs[0]
    begins = curve.lrs[len(before) - 1 - before[::-1].index(True)]
    return max(10.0 ** int(np.floor(np.log10(begins) - 1)), curve.lrs[0])


def _limits(curve: LrCurve) -> tuple[float, float]:
    """Return the ends of the loss axis.

    They are those of the losses up to the lowest smoothed one, and as much again above them, so
    that one sees where the divergence begins; shown whole, it would flatten the rest.
    """
    before = curve.losses[: curve.smoothed.index(min(curve.smoothed)) + 1]
    low, high = min(*before, *curve.smoothed), max(*before, curve.smoothed[0])
    high = max(high, min(max(curve.smoothed), high + (high - low)))
    margin = 0.05 * (high - low) or 0.5
    return low - margin, high + margin
