"""Draw a metric over two numeric axes: a heat map for each variant, on one colour scale."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from ablab.report.forms.cells import decimals
from ablab.report.forms.notes import changes_of_variants
from ablab.report.pictures.picture import PAGE, Picture, shortened
from ablab.report.pictures.style import BLACK, MOST_LINES, drawn, is_geometric, tick_texts
from ablab.report.table.comparison import STATUSES
from ablab.report.table.grid import Group, grouped, is_grid, numeric_axes
from ablab.report.table.tables import ReportTable, best_rows, comparable_rows

Array = NDArray[np.float64]
_ROOM_FOR_NUMBERS = 10  # cells a side


def heat_maps(table: ReportTable, metric: str, width: float) -> Picture | None:
    """Return None without a grid on two numeric axes, or without a value on it.

    The cells of a panel have the same size, so an axis with equal ratios looks logarithmic; panels
    whose ratios differ get a common scale, so that slopes can be compared.
    """
    axes = numeric_axes(table)[:2]
    if len(axes) < 2 or not is_grid(table):
        return None
    means = [(group, _means(group, metric)) for group in grouped(table, axes)]
    means = [(group, values) for group, values in means if np.isfinite(values).any()]
    if not means:
        return None
    sign = -1 if table.directions.get(metric) == "max" else 1
    order = sorted(range(len(means)), key=lambda index: np.nanmin(sign * means[index][1]))
    shown = [means[index] for index in sorted(order[:MOST_LINES])]
    norm = _norm(np.concatenate([values.ravel() for _, values in shown]), sign)
    colours = colormaps["viridis_r" if sign > 0 else "viridis"]
    columns = min(3, len(shown)) if width >= PAGE else 1
    rows = math.ceil(len(shown) / columns)
    cells = max(values.shape[0] for _, values in shown)
    wide = max(columns * (1.0 + 0.46 * min(cells, 12)) + 1.0, 4.5) if width >= PAGE else width
    height = 1.1 + 0.32 * min(max(values.shape[1] for _, values in shown), 16)
    figure = Figure(figsize=(wide, rows * height + 0.2), layout="constrained")
    room = cells <= (_ROOM_FOR_NUMBERS if width >= PAGE else 3 * (width - 1.2))
    changes = changes_of_variants(table.comparison)
    places = figure.subplots(rows, columns, squeeze=False)
    for index, place in enumerate(places.flat):
        if index >= len(shown):
            place.set_visible(False)
            continue
        group, values = shown[index]
        _draw(place, group, values, norm, colours)
        _write_numbers(place, group, metric, decimals(table.rows, metric) if room else None)
        _mark_best(place, group, metric, table.directions.get(metric))
        _frame_baseline(place, group, table)
        place.set_title(_title(group, changes, width), loc="left")
        place.set_xlabel(axes[0] if index + columns >= len(shown) else "")
        place.set_ylabel(axes[1] if index % columns == 0 else "")
    _scale_alike(list(places.flat), [group for group, _ in shown])
    figure.colorbar(
        ScalarMappable(norm, colours),
        ax=places,
        label=f"mean {metric}",
        extend="max" if sign > 0 else "min",
    )
    caption = (
        "Means over seeds. The best cell is framed in red, the best of each column has a dot. A "
        "hatched one has no value, since its runs failed or are missing; a plain grey one is not "
        "in the plan; one with a star lacks seeds, so it cannot be the best."
    )
    if any(baseline is not None for baseline in table.baselines):
        caption += " A baseline has a dashed frame."
    if len(shown) < len(means):
        caption += f" The best {len(shown)} of {len(means)}."
    return drawn(f"{metric} over {axes[0]} and {axes[1]}", caption, figure)


def _means(group: Group, metric: str) -> Array:
    """Return the means as [X, Y], nan where a cell has none."""
    x, y = group.axis(0), group.axis(1)
    means = np.full((len(x), len(y)), np.nan)
    for (at_x, at_y), row in group.rows.items():
        if metric in row.metrics:
            means[x.index(at_x), y.index(at_y)] = row.metrics[metric].mean
    return means


def _norm(means: Array, sign: int) -> Normalize:
    """Return a scale from the best value to 2.5 times the median's distance from it.

    Cells far outside the valley can have any value and would flatten the colours inside it.
    """
    costs = sign * means[np.isfinite(means)]
    best, median, worst = costs.min(), np.median(costs), costs.max()
    limit = min(worst, median + 1.5 * (median - best))
    ends = sorted((sign * best, sign * limit))
    return Normalize(*ends) if ends[0] < ends[1] else Normalize(ends[0] - 0.5, ends[0] + 0.5)


def _draw(place: Axes, group: Group, means: Array, norm: Normalize, colours: Colormap) -> None:
    place.set_facecolor("0.93")
    place.imshow(means.T, origin="lower", aspect="auto", norm=norm, cmap=colours)
    for (at_x, at_y), row in group.rows.items():
        x, y = group.axis(0).index(at_x), group.axis(1).index(at_y)
        if np.isfinite(means[x, y]):
            continue
        place.add_patch(
            Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor="white", hatch="////", edgecolor="0.6")
        )
        status = next((status for status in STATUSES[1:] if row.statuses.get(status)), "nan")
        background = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        place.text(x, y, status, ha="center", va="center", fontsize=5.5, bbox=background)
    for axis, values in ((place.xaxis, group.axis(0)), (place.yaxis, group.axis(1))):
        every = math.ceil(len(values) / 14)
        axis.set_ticks(range(0, len(values), every), tick_texts(values[::every]))
    if means.shape[0] > 4:
        for label in place.get_xticklabels():
            label.set(rotation=45, ha="right", rotation_mode="anchor")
    place.tick_params(length=0)
    place.spines[:].set_visible(False)


def _write_numbers(place: Axes, group: Group, metric: str, digits: int | None) -> None:
    """Write the means into the cells unless ``digits`` is None, and a star if seeds are missing."""
    (image,) = place.images
    x, y = group.axis(0), group.axis(1)
    comparable = comparable_rows(list(group.rows.values()), metric)
    for index, ((at_x, at_y), row) in enumerate(group.rows.items()):
        if metric not in row.metrics or not math.isfinite(row.metrics[metric].mean):
            continue
        mean = row.metrics[metric].mean
        text = "" if digits is None else f"{mean:.{digits}f}"
        if len(text) > 6:
            text = f"{mean:.3g}"
        text += "" if index in comparable else "*"
        if not text:
            continue
        red, green, blue, _ = image.to_rgba(np.array(mean))
        colour = "white" if 0.3 * red + 0.59 * green + 0.11 * blue < 0.5 else BLACK
        at = x.index(at_x), y.index(at_y)
        place.text(*at, text, ha="center", va="center", fontsize=6.5, color=colour)


def _title(group: Group, changes: dict[str, list[str]], width: float) -> str:
    """Return the group's name, and below it what its variant sets if that is one thing."""
    words = changes.get(group.name, [])
    told = len(words) == 1 and words[0].partition("=")[2] != group.name
    return "\n".join(shortened(line, width) for line in (group.name, *(words if told else ())))


def _scale_alike(places: Sequence[Axes], groups: Sequence[Group]) -> None:
    """Give a ratio the same length in all panels, on axes that are geometric in all of them."""
    for number, set_ends in enumerate((Axes.set_xlim, Axes.set_ylim)):
        values = [group.axis(number) for group in groups]
        if not all(map(is_geometric, values)):
            continue
        steps = [math.log(own[-1] / own[0]) / (len(own) - 1) for own in values]
        longest = max(len(own) * step for own, step in zip(values, steps, strict=True))
        for place, step in zip(places, steps, strict=False):
            set_ends(place, -0.5, longest / step - 0.5)


def _mark_best(place: Axes, group: Group, metric: str, direction: str | None) -> None:
    """Frame the best cell, and put a dot beside the number of the best of each column."""

    def best_of(points: list[tuple[float, ...]]) -> list[tuple[int, int]]:
        best = best_rows([group.rows[point] for point in points], metric, direction)
        chosen = [points[index] for index in best]
        return [(group.axis(0).index(x), group.axis(1).index(y)) for x, y in chosen]

    points = list(group.rows)
    columns: dict[float, list[tuple[float, ...]]] = {value: [] for value in group.axis(0)}
    for point in points:
        columns[point[0]].append(point)
    for column in columns.values() if len(group.axis(1)) > 1 else ():
        for x, y in best_of(column):
            dot = {"color": "white", "markeredgecolor": "black", "markersize": 3.5}
            place.plot(x - 0.42, y, "o", **dot)
    for x, y in best_of(points):
        # Red inside white shows on any colour, and in greyscale.
        for colour, width in (("white", 4.0), ("#C00000", 2.0)):
            place.add_patch(
                Rectangle(
                    (x - 0.46, y - 0.46), 0.92, 0.92, fill=False, edgecolor=colour, linewidth=width
                )
            )


def _frame_baseline(place: Axes, group: Group, table: ReportTable) -> None:
    baselines = {id(table.rows[index]) for index in table.baselines if index is not None}
    for point, row in group.rows.items():
        if id(row) not in baselines:
            continue
        x, y = (group.axis(i).index(point[i]) for i in (0, 1))
        for colour, style in (("white", "-"), (BLACK, (0, (3, 2)))):
            frame = Rectangle((x - 0.38, y - 0.36), 0.76, 0.72, fill=False, edgecolor=colour)
            frame.set(linestyle=style, linewidth=1.2)
            place.add_patch(frame)
