"""The picture of a learning-rate range test; matplotlib is imported here alone."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ablab.figures import COLOURS, MARKERS, plain
from ablab.safety.atomic_files import atomic_write
from ablab.training.range_test.curve import LrCurve

_ROW = 0.065  # height of a label over the axes, in heights of the axes


def plot_curve(
    curve: LrCurve, suggestions: dict[str, float | None], title: str, path: Path
) -> None:
    """Write a PNG: raw and smoothed loss over the rate, and each suggestion that there is."""
    marked = {name: rate for name, rate in suggestions.items() if rate is not None}
    styles = dict(zip(suggestions, zip(COLOURS, MARKERS, strict=False), strict=False))
    # without pyplot: no global state, and no window system is looked for
    figure = Figure(figsize=(7.2, 4.6), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xscale("log")
    axes.plot(curve.lrs, curve.losses, color="0.7", linewidth=1, label="loss of the batch")
    axes.plot(curve.lrs, curve.smoothed, color="black", linewidth=1.8, label="smoothed")
    low, high = _limits(curve)
    axes.set_ylim(low, high)
    # Labels stand over the axes, a row each, to the right of their lines and the leftmost highest,
    # so that none meets another and no line runs through one.
    for row, name in enumerate(sorted(marked, key=lambda name: -marked[name])):
        rate, (color, marker) = marked[name], styles[name]
        loss = float(np.interp(np.log(rate), np.log(curve.lrs), curve.smoothed))
        top = 1.03 + row * _ROW
        axes.plot([rate], [loss], marker=marker, markersize=8, color=color, zorder=5)
        axes.plot(
            [rate, rate],
            [(loss - low) / (high - low), top + 0.75 * _ROW],
            transform=axes.get_xaxis_transform(),
            color=color,
            linewidth=1,
            linestyle="--",
            clip_on=False,
        )
        axes.annotate(
            f"{name}: {rate:.2g}",
            (rate, top),
            xycoords=axes.get_xaxis_transform(),
            xytext=(4, 0),
            textcoords="offset points",
            color=color,
        )
    axes.set_xlabel("learning rate of the last layer group")
    axes.set_ylabel("training loss")
    axes.set_title(title, loc="left", pad=6 + 14 * len(marked), fontsize=11)
    axes.set_axisbelow(True)
    plain(axes)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=150)


def _limits(curve: LrCurve) -> tuple[float, float]:
    """Of the loss axis: what there is up to the lowest smoothed loss, and as much again above it,
    in which the blow-up can be seen to begin; whole, it would flatten the rest."""
    before = curve.losses[: curve.smoothed.index(min(curve.smoothed)) + 1]
    low, high = min(*before, *curve.smoothed), max(*before, curve.smoothed[0])
    high = max(high, min(max(curve.smoothed), high + (high - low)))
    margin = 0.05 * (high - low) or 0.5
    return low - margin, high + margin
