"""Draw learning curves: mean and standard deviation over runs, a line for each row."""

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from ablab.figures import legend_below, line_style, plain
from ablab.report.forms.cells import row_name
from ablab.report.pictures.choice import candidates, ranked, rows_named
from ablab.report.pictures.picture import Picture, shortened
from ablab.report.pictures.style import MOST_BANDS, MOST_LINES, drawn, rows_id
from ablab.report.table.comparison import ReportJob, Variant
from ablab.report.table.tables import ReportTable
from ablab.runs.history import FILE_NAME, read_history

_TRAINING = "train/loss"
Curve = dict[int, float]  # optimiser step -> value


def learning_curves(table: ReportTable, width: float) -> Picture | None:
    """Draw the objective on the validation part, or the training loss if no run has validated.

    Of many rows, the best and the worst by the first metric of the table are drawn. Return None if
    no run has a history.

    Raises:
        RunFolderError: a history is damaged.
    """
    jobs: dict[Variant, list[ReportJob]] = defaultdict(list)
    for job in table.comparison.jobs:
        if job.status != "unreadable":
            jobs[job.variant].append(job)
    metric = next(iter(table.directions), None)
    having = [i for i, row in enumerate(table.rows) if _has_history(jobs[row.variant])]
    among, choice = candidates(table, metric, having)
    if len(among) > MOST_LINES:
        half = MOST_LINES // 2
        choice += f" The best {half} and the worst {half} of {len(among)}."
        order = ranked(table, metric, among)
        among = [*order[:half], *order[-half:]]
    rows = [table.rows[index] for index in among]
    histories = {row.variant: [_history(job) for job in jobs[row.variant]] for row in rows}
    columns = {column for runs in histories.values() for run in runs for column in run}
    objectives = dict.fromkeys(job.record.monitor for job in table.comparison.jobs if job.record)
    column = next((name for name in (*objectives, _TRAINING) if name in columns), None)
    if column is None:
        return None
    figure = Figure(figsize=(width, 0.4 * width + 0.9), layout="constrained")
    place = figure.add_subplot()
    ends = []
    for index, (number, row) in enumerate(zip(among, rows, strict=True)):
        steps, mean, std = mean_curve([run.get(column, {}) for run in histories[row.variant]])
        if not len(steps):
            continue
        style = line_style(index)
        name = shortened(row_name(row), width)
        line = {**style, "linewidth": 1.5, "gid": rows_id([number], "line")}
        place.plot(steps, mean, **line, marker="o" if len(steps) == 1 else None, label=name)
        if len(rows) <= MOST_BANDS:
            place.fill_between(
                steps,
                mean - std,
                mean + std,
                color=style["color"],
                alpha=0.15,
                linewidth=0,
                gid=rows_id([number], "band"),
            )
        ends += [float(np.nanmin(mean)), float(np.nanmax(mean))]
    place.set_xlabel("optimiser steps")
    place.set_ylabel(column)
    if ends and min(ends) > 0 and max(ends) > 30 * min(ends):
        place.set_yscale("log")
        # The default of matplotlib writes powers of ten in TeX.
        place.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    plain(place)
    legend_below(figure, place)
    caption = "Means over runs."
    if len(rows) <= MOST_BANDS:
        caption += " The band is one standard deviation to each side."
    caption += choice + rows_named(table)
    return drawn("Learning curves", caption, figure)


def mean_curve(curves: Sequence[Curve]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return steps, means and standard deviations (0 for one run) over runs.

    Only steps that at least half of the runs reached count: beyond them, the mean would jump to
    that of the runs that went on.
    """
    at: dict[int, list[float]] = defaultdict(list)
    for curve in curves:
        for step, value in curve.items():
            if math.isfinite(value):
                at[step].append(value)
    runs = sum(1 for curve in curves if curve)
    steps = sorted(step for step, values in at.items() if 2 * len(values) >= runs)
    mean = np.array([np.mean(at[step]) for step in steps])
    std = np.array([np.std(at[step], ddof=1) if len(at[step]) > 1 else 0.0 for step in steps])
    return np.array(steps), mean, std


def _has_history(jobs: Sequence[ReportJob]) -> bool:
    return any((job.folder / _file_name(job)).is_file() for job in jobs)


def _file_name(job: ReportJob) -> str:
    if job.record is None:
        return FILE_NAME
    return job.record.trackers.get("CSVTracker", {}).get("file", FILE_NAME)


def _history(job: ReportJob) -> dict[str, Curve]:
    columns, rows = read_history(job.folder / _file_name(job))
    return {
        column: {int(row["step"]): float(row[column]) for row in rows if row[column]}
        for column in columns
        if column == _TRAINING or column.startswith("val/")
    }
