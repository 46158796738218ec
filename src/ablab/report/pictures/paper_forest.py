"""Draw the forest plot for a paper: as ``forest``, in a given width, and as PDF too."""

import math

from matplotlib.figure import Figure

from ablab.figures import plain
from ablab.report.forms.cells import row_name
from ablab.report.pictures.forest import axis_of, lines_of
from ablab.report.pictures.picture import Picture, shortened
from ablab.report.pictures.style import drawn
from ablab.report.table.conclusion import conclude
from ablab.report.table.tables import ReportTable


def paper_forest(table: ReportTable, width: float) -> Picture | None:
    """Return the differences of the claims and of the rows; None if there are none."""
    conclusion = conclude(table)
    if not conclusion.standings:
        return None
    metric = conclusion.standings[0].metric
    claims, rows = lines_of(table, conclusion)
    panels = [lines for lines in (claims, rows) if lines]
    if not panels:
        return None
    heights = [0.6 + 0.19 * len(lines) for lines in panels]
    figure = Figure(figsize=(width, sum(heights)), layout="constrained")
    places = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)
    for place, lines in zip(places.flat, panels, strict=True):
        axis = axis_of(lines, 0.0, 1.0)
        for y, line in enumerate(lines):
            found = line.against.found
            colour = "#0072B2" if found.separable else "0.5"
            for low, high, thick in (
                (found.low, found.high, 0.9),
                (found.difference.low, found.difference.high, 2.6),
            ):
                if not math.isnan(low):
                    place.plot([low, high], [y, y], color=colour, linewidth=thick)
            place.plot([found.difference.mean], [y], "o", color=colour, markersize=3.5)
            if line.bound:
                place.plot([line.bound] * 2, [y - 0.3, y + 0.3], color="0.5", linewidth=1)
        if not axis.broken:
            place.axvline(0.0, color="black", linewidth=0.8)
        place.set_xlim(axis.low, axis.high)
        place.set_ylim(len(lines) - 0.5, -0.5)
        place.set_yticks(range(len(lines)), [shortened(line.name, width) for line in lines])
        place.locator_params(axis="x", nbins=4)
        other = row_name(table.rows[lines[0].against.other])
        end = "" if lines is claims else f" to {shortened(other, width)}"
        place.set_xlabel(f"Δ {metric}{end}")
        plain(place)
    caption = "Mean differences over seeds; thick: 95 % intervals, thin: corrected after Holm."
    return drawn(f"Differences in {metric}", caption, figure)
