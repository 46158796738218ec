"""Draw every seed of a row as a dot, so that a mean hides nothing."""

import math
import statistics

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ablab.figures import COLOURS, plain
from ablab.report.forms.cells import row_name
from ablab.report.pictures.choice import candidates, ranked, rows_named
from ablab.report.pictures.picture import PAGE, Picture, shortened
from ablab.report.pictures.style import MOST_LINES, drawn, rows_id
from ablab.report.table.grid import numeric_axes
from ablab.report.table.rows import ReportRow
from ablab.report.table.tables import ReportTable


def strips(table: ReportTable, metric: str, width: float) -> Picture | None:
    """Return None with fewer than two values, or if a picture of the axes shows as much.

    Of many rows, the best and their baselines are drawn.
    """
    having = [index for index, row in enumerate(table.rows) if _values(row, metric)]
    seeds = [len(_values(table.rows[index], metric)) for index in having]
    if sum(seeds) < 2 or (max(seeds) == 1 and numeric_axes(table)):
        return None
    among, choice = candidates(table, metric, having)
    shown = _chosen(table, metric, among)
    figure = Figure(figsize=(width, 0.9 + 0.05 * width * len(shown)), layout="constrained")
    place = figure.add_subplot()
    baselines = {table.baselines[index] for index in shown}
    rows = [table.rows[index] for index in shown]
    paired = len(baselines) == 1 and baselines <= set(shown)
    if paired:
        _connect_seeds(place, rows, metric)
    for y, (index, row) in enumerate(zip(shown, rows, strict=True)):
        values = list(_values(row, metric).values())
        colour = COLOURS[1] if index in baselines else COLOURS[0]
        dots = {"color": colour, "markersize": 4.5, "alpha": 0.75, "gid": rows_id([index], "dots")}
        place.plot(values, [y] * len(values), "o", **dots)
        bar = {"color": "black", "linewidth": 1.8, "gid": rows_id([index], "mean")}
        place.plot([_mean(row, metric)] * 2, [y - 0.28, y + 0.28], **bar)
    names = [shortened(row_name(row), width) for row in rows]
    place.set_yticks(range(len(rows)), names)
    place.set_ylim(len(rows) - 0.5, -0.5)
    place.set_xlabel(metric)
    place.locator_params(axis="x", nbins=5 if width >= PAGE else 3)
    plain(place)
    caption = "Each dot is a seed; the bar is the mean."
    if baselines - {None}:
        caption += " Orange: a baseline."
    if paired and None not in baselines:
        caption += " A line joins the runs of one seed."
    if len(set(shown) & set(among)) < len(among):
        choice += (
            f" The best of {len(among)}{', with their baselines' if baselines - {None} else ''}."
        )
    caption += choice + rows_named(table)
    return drawn(f"{metric} of each seed", caption, figure)


def _values(row: ReportRow, metric: str) -> dict[str, float]:
    found = row.per_seed.get(metric, {})
    return {seed: value for seed, value in found.items() if math.isfinite(value)}


def _mean(row: ReportRow, metric: str) -> float:
    return statistics.fmean(_values(row, metric).values())


def _connect_seeds(place: Axes, rows: list[ReportRow], metric: str) -> None:
    for seed in dict.fromkeys(seed for row in rows for seed in _values(row, metric)):
        points = [
            (values[seed], y)
            for y, values in enumerate(_values(row, metric) for row in rows)
            if seed in values
        ]
        place.plot(*zip(*points, strict=True), color="0.75", linewidth=0.9, zorder=1)


def _chosen(table: ReportTable, metric: str, indices: list[int]) -> list[int]:
    """Return as many of the best rows as fit with their baselines, in the table's order."""
    chosen: set[int] = set()
    for index in ranked(table, metric, indices):
        baseline = table.baselines[index]
        own = {index}
        if baseline is not None and _values(table.rows[baseline], metric):
            own.add(baseline)
        if len(chosen | own) > MOST_LINES:
            break
        chosen |= own
    return sorted(chosen)
