"""Draw a metric over the only numeric axis: a line for each variant, with its deviation."""

import numpy as np
from matplotlib.figure import Figure

from ablab.figures import MARKERS, legend_below, line_style, plain
from ablab.report.pictures.picture import Picture, shortened
from ablab.report.pictures.style import MOST_BANDS, MOST_LINES, drawn, rows_id, scale_x
from ablab.report.table.grid import Group, grouped, numeric_axes
from ablab.report.table.tables import ReportTable


def curves(table: ReportTable, metric: str, width: float) -> Picture | None:
    """Return None unless there is exactly one numeric axis and a line of two points on it."""
    axes = numeric_axes(table)
    if len(axes) != 1:
        return None
    groups = [group for group in grouped(table, axes) if len(_points(group, metric)) > 1]
    if not groups:
        return None
    sign = -1 if table.directions.get(metric) == "max" else 1
    order = sorted(
        range(len(groups)),
        key=lambda index: min(sign * mean for _, mean, _ in _points(groups[index], metric)),
    )
    shown = [groups[index] for index in sorted(order[:MOST_LINES])]
    figure = Figure(figsize=(width, 0.4 * width + 0.9), layout="constrained")
    place = figure.add_subplot()
    for index, group in enumerate(shown):
        x, mean, std = np.array(_points(group, metric)).T
        style = line_style(index)
        own = [i for i, row in enumerate(table.rows) if row in group.rows.values()]
        place.plot(
            x,
            mean,
            **style,
            marker=MARKERS[index % len(MARKERS)],
            markersize=5,
            linewidth=1.5,
            label=shortened(group.name, width),
            gid=rows_id(own, f"{index}.line"),
        )
        if len(shown) <= MOST_BANDS:
            place.fill_between(
                x,
                mean - std,
                mean + std,
                color=style["color"],
                alpha=0.15,
                linewidth=0,
                gid=rows_id(own, f"{index}.band"),
            )
    scale_x(place, sorted({x for group in shown for x, _, _ in _points(group, metric)}))
    place.set_xlabel(axes[0])
    place.set_ylabel(metric)
    plain(place)
    legend_below(figure, place)
    caption = "Means over seeds."
    if len(shown) <= MOST_BANDS:
        caption += " The band is one standard deviation to each side."
    if len(shown) < len(groups):
        caption += f" The best {len(shown)} of {len(groups)}."
    return drawn(f"{metric} over {axes[0]}", caption, figure)


def _points(group: Group, metric: str) -> list[tuple[float, float, float]]:
    """Return x, mean and standard deviation (0 for one seed), sorted by x."""
    points = []
    for (x,), row in sorted(group.rows.items(), key=lambda item: item[0]):
        spread = row.metrics.get(metric)
        if spread is not None and np.isfinite(spread.mean):
            points.append((x, spread.mean, 0.0 if np.isnan(spread.std) else spread.std))
    return points
