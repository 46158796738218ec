"""Draw performance profiles: the share of runs, over all tasks, that are better than a score."""

import numpy as np
from matplotlib.figure import Figure

from ablab.figures import legend_below, line_style, plain
from ablab.report.forms.cells import row_name
from ablab.report.pictures.choice import candidates, ranked, rows_named
from ablab.report.pictures.picture import Picture, shortened
from ablab.report.pictures.style import MOST_BANDS, drawn, rows_id
from ablab.report.table.tables import ReportTable
from ablab.report.table.tasks import across_tasks, performance_profile, poolable, scores_of


def profiles(table: ReportTable, metric: str, width: float) -> Picture | None:
    """Return None unless the plan averages over several tasks or splits of comparable scores."""
    if metric not in [found.metric for found in across_tasks(table)]:
        return None
    scores, relative = poolable(table, scores_of(table, metric))
    if not scores:
        return None
    among, choice = candidates(table, metric, list(scores))
    shown = sorted(ranked(table, metric, among)[:MOST_BANDS])
    lower = table.directions[metric] == "min"
    every = np.concatenate([runs for index in shown for runs in scores[index]])
    at = np.linspace(every.min(), every.max(), 101)
    figure = Figure(figsize=(width, 0.4 * width + 0.9), layout="constrained")
    place = figure.add_subplot()
    for number, index in enumerate(shown):
        value, low, high = performance_profile(scores[index], at.tolist(), lower=lower)
        style = line_style(number)
        name = shortened(row_name(table.rows[index]), width)
        line = {**style, "linewidth": 1.5, "label": name, "gid": rows_id([index], "line")}
        place.plot(at, value, **line)
        band = {"color": style["color"], "alpha": 0.15, "linewidth": 0}
        place.fill_between(at, low, high, **band, gid=rows_id([index], "band"))
    place.set_xlabel(f"{metric}, relative to the baseline on the same task" if relative else metric)
    place.set_ylabel("share of runs that are better")
    place.set_ylim(0, 1)
    plain(place)
    legend_below(figure, place)
    caption = (
        f"The share of runs with a {'lower' if lower else 'higher'} {metric}, each of "
        f"{', '.join(table.comparison.average)} weighing the same; the band is a 95 % interval "
        "(stratified bootstrap). A row whose line lies above another's everywhere is better."
    )
    if len(shown) < len(among):
        caption += f" The best {len(shown)} of {len(among)}."
    caption += choice + rows_named(table)
    return drawn(f"Performance profile of {metric}", caption, figure)
