"""Draw a metric over each numeric axis, a dot for each row: for points that form no grid."""

import math

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from ablab.figures import COLOURS, plain
from ablab.report.pictures.picture import PAGE, Picture
from ablab.report.pictures.style import drawn
from ablab.report.table.grid import is_grid, numeric_axes
from ablab.report.table.rows import Spread
from ablab.report.table.tables import ReportTable, best_rows

_MOST_AXES = 9


def scatters(table: ReportTable, metric: str, width: float) -> Picture | None:
    """Return None for a grid, or with fewer than two values."""
    axes = numeric_axes(table)[:_MOST_AXES]
    means = np.array([_mean(row.metrics.get(metric)) for row in table.rows])
    known = np.flatnonzero(np.isfinite(means))
    if is_grid(table) or len(known) < 2:
        return None
    sign = -1 if table.directions.get(metric) == "max" else 1
    costs = sign * means[known]
    limit = sign * min(costs.max(), np.median(costs) + 1.5 * (np.median(costs) - costs.min()))
    y = np.minimum(means, limit) if sign > 0 else np.maximum(means, limit)
    outside = y != means
    inside = [i for i in known if not outside[i]]
    beyond = [i for i in known if outside[i]]
    columns = min(3 if width >= PAGE else 2, len(axes))
    rows = math.ceil(len(axes) / columns)
    wide = 2.6 * columns + 1.0 if width >= PAGE else width
    figure = Figure(figsize=(wide, 0.9 * wide / columns * rows + 0.2), layout="constrained")
    places = figure.subplots(rows, columns, squeeze=False, sharey=True)
    best = list(best_rows(table.rows, metric, table.directions.get(metric)))
    order = Normalize(1, len(table.rows))
    for index, place in enumerate(places.flat):
        if index >= len(axes):
            place.set_visible(False)
            continue
        x = np.array([float(dict(row.variant)[axes[index]]) for row in table.rows])
        for chosen, marker in ((inside, "o"), (beyond, "^" if sign > 0 else "v")):
            numbers = np.array(chosen, dtype=int)
            place.scatter(x[numbers], y[numbers], c=numbers + 1, norm=order, marker=marker, s=18)
        place.scatter(x[best], y[best], s=90, facecolors="none", edgecolors=COLOURS[1])
        if x.min() > 0 and np.median(x) - x.min() < 0.15 * (x.max() - x.min()):
            place.set_xscale("log")  # or half of the dots would lie in a corner
        place.xaxis.set_major_formatter("{x:g}")
        place.set_xlabel(axes[index])
        place.set_ylabel(metric if index % columns == 0 else "")
        plain(place)
    figure.colorbar(ScalarMappable(order), ax=places, label="row of the table")
    caption = f"Each dot is a row of the table{'; the best has a ring' if best else ''}."
    if beyond:
        caption += " Triangles lie beyond the axis."
    return drawn(f"{metric} over {', '.join(axes)}", caption, figure)


def _mean(spread: Spread | None) -> float:
    return math.nan if spread is None else spread.mean
