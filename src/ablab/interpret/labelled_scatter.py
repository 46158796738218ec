"""Write names beside the points of a scatter plot, so that none covers another or a point."""

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DISTANCES = (3.0, 7.0, 12.0, 18.0, 25.0, 33.0)  # of a name from its point, in points (1/72 inch)
ANGLES = tuple(np.deg2rad([0, 180, 90, 270, 35, 145, 325, 215]))  # the best ones first
JOINED = 7.0  # from this distance on, a line joins a name to its point
GAP = 1.0  # between two names
HALO = withStroke(linewidth=1.5, foreground="white")  # around a name, above lines and the grid
MARK = 2.5  # the assumed radius of a point


def label_points(
    axes: Axes, points: NDArray[np.floating], labels: Sequence[str], *, size: float = 7
) -> list[Text]:
    """Write the names of ``points`` into ``axes``; return the names that were written.

    Each name in turn gets the first of 48 places, from near to far, where it covers no point and
    neither a name nor a line that is there already (greedy point labelling: Christensen, Marks &
    Shieber 1995). A name without such a place is left out, so the most important names come first.
    The first call fixes the layout of the whole figure: draw everything else before it, and create
    the figure with the dpi with which it is saved.

    Args:
        axes: in which the points are drawn.
        points: (n, 2), in data coordinates.
        labels: names of the first points; no name covers the other points.
        size: of the font, in points.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    FigureCanvasAgg(figure)  # measures texts
    layout = figure.get_layout_engine()
    if layout is not None:  # after the first call, one that changes nothing
        layout.execute(figure)
        figure.set_layout_engine("none")
    axes.autoscale_view()
    axes.autoscale(False)  # the lines below must not change the view
    pixels = figure.dpi / 72
    to_data = axes.transData.inverted()
    places = axes.transData.transform(np.asarray(points, float).reshape(-1, 2))
    covered = places  # points, and points along the lines
    margin = np.full(len(covered), MARK * pixels)
    low, high = axes.get_window_extent().min, axes.get_window_extent().max
    boxes = np.zeros((0, 2, 2))  # (low, high) corners of the names that are written
    written: list[Text] = []
    for place, label in zip(places, labels, strict=False):
        others = covered[~_near(place[None], covered, MARK * pixels)[0]]
        text = axes.text(0, 0, label, fontsize=size, ha="center", va="center", zorder=3)
        text.set_path_effects([HALO])
        extent = text.get_window_extent()
        for box, distance in _candidates(place, np.array(extent.size), pixels):
            line = np.linspace(place, np.clip(place, *box), 12)
            if (
                (box[0] >= low).all()
                and (box[1] <= high).all()
                and not _inside(covered, box[None], margin[:, None]).any()
                and not _overlap(box, boxes, GAP * pixels).any()
                and not _inside(line, boxes, 0).any()
                and not _near(line, others, MARK * pixels).any()
            ):
                text.set_position(tuple(to_data.transform(box.mean(axis=0))))
                boxes = np.concatenate([boxes, box[None]])
                written.append(text)
                if distance >= JOINED:
                    axes.plot(*to_data.transform(line[[0, -1]]).T, color="0.6", lw=0.5, zorder=1.5)
                    covered = np.concatenate([covered, line])
                    margin = np.concatenate([margin, np.full(len(line), GAP * pixels)])
                break
        else:
            text.remove()
    return written


def _candidates(place: Floats, size: Floats, pixels: float) -> Iterator[tuple[Floats, float]]:
    """Yield boxes (low and high corner) of ``size`` around a place, and their distances from it."""
    for distance in DISTANCES:
        for angle in ANGLES:
            direction = np.array([np.cos(angle), np.sin(angle)])
            centre = place + direction * (size / 2 + distance * pixels)
            yield np.stack([centre - size / 2, centre + size / 2]), distance


def _inside(points: Floats, boxes: Floats, margin: Floats | float) -> NDArray[np.bool_]:
    """Return (n, m): whether each of n points is in each of m boxes, or closer than the margin."""
    x, y = points[:, None, 0], points[:, None, 1]
    return (
        (x > boxes[:, 0, 0] - margin)
        & (x < boxes[:, 1, 0] + margin)
        & (y > boxes[:, 0, 1] - margin)
        & (y < boxes[:, 1, 1] + margin)
    )


def _near(points: Floats, others: Floats, distance: float) -> NDArray[np.bool_]:
    """Return (n, m): whether each of n points is nearer than ``distance`` to each of m others."""
    return np.linalg.norm(points[:, None] - others, axis=2) < distance


def _overlap(box: Floats, boxes: Floats, gap: float) -> NDArray[np.bool_]:
    return ((box[0] - gap < boxes[:, 1]) & (box[1] + gap > boxes[:, 0])).all(axis=1)
