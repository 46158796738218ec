"""The curves of a run: loss, metrics, learning rates and momentum over its steps."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ablab.errors import RunFolderError
from ablab.figures import line_style, plain, styled
from ablab.findings import Findings
from ablab.runs.history import FILE_NAME, read_history
from ablab.runs.record import RunRecord

_STEP = "step"


def training_curves(folder: Path) -> Findings:
    """The loss, metrics, learning rates of layer groups, and momentum over the optimiser steps.

    Raises:
        RunFolderError: the run has no history.
    """
    table = history(folder)
    figure = draw_curves(table, title_of(folder), beginnings(table, RunRecord.read(folder)))
    return Findings(figures={"training_curves": figure})


def history(folder: Path) -> pl.DataFrame:
    """Return what the run reported: ``step`` (int64), and float64 columns with null for nothing.

    Raises:
        RunFolderError: there is no history.
    """
    record = RunRecord.read(folder)
    path = folder / record.trackers.get("CSVTracker", {}).get("file", FILE_NAME)
    columns, rows = read_history(path)
    if not rows:
        raise RunFolderError(f"{path}: there is no history of the run; logger=csv keeps one")
    texts = {name: [row[name] or None for row in rows] for name in columns}
    table = pl.DataFrame(texts, schema=dict.fromkeys(columns, pl.String))
    return table.with_columns(pl.col(_STEP).cast(pl.Int64), pl.exclude(_STEP).cast(pl.Float64))


def title_of(folder: Path) -> str:
    """Return the name of a run, its seed, optimiser and schedule."""
    record = RunRecord.read(folder)
    title = f"{record.name}, seed {record.config['seed']}"
    if record.config["optim"] is None:
        return f"{title}: optimisers of the model's own"
    names = []
    for section in (record.config["optim"], record.config["schedule"]):
        names.append(section.get("name") or section["_target_"].rpartition(".")[2])
    return f"{title}: {names[0]}, schedule {names[1]}"


def beginnings(table: pl.DataFrame, record: RunRecord) -> dict[str, int]:
    """Return the step before which each phase began; nothing without phases, or if that is unknown.

    It is unknown where an early stop ended a phase before its epochs were over.
    """
    phases: dict[str, dict[str, Any]] = record.config["phases"]
    planned = sum(phase["epochs"] for phase in phases.values())
    if record.status == "done" and record.epochs != planned:
        return {}
    found, epochs = {}, 0
    for name, phase in phases.items():
        before = table.filter(pl.col("epoch") < epochs)[_STEP].max()
        found[name] = int(before or 0)  # type: ignore[call-overload]
        epochs += phase["epochs"]
        if not len(table.filter(pl.col("epoch") >= epochs)):
            break
    return found


@styled()
def draw_curves(
    table: pl.DataFrame, title: str, phases: Mapping[str, int] = MappingProxyType({})
) -> Figure:
    """Draw a panel each for losses, other validation metrics, learning rates, and momentum.

    ``phases``: the step at which each begins, which is marked and named.
    """
    # A run of fewer steps than trainer.log_every_n_steps only has the loss of each epoch.
    of_training = "train/loss" if "train/loss" in table.columns else "train/loss_epoch"
    losses = [c for c in (of_training, "val/loss") if c in table.columns]
    metrics = [c for c in table.columns if c.startswith("val/") and c not in losses]
    rates = [c for c in table.columns if c.startswith("lr/")]
    momentum = [c for c in table.columns if c == "momentum"]
    panels = [(c, [c]) for c in metrics]
    panels = [("loss", losses), *panels, ("learning rate", rates), ("momentum", momentum)]
    panels = [(name, columns) for name, columns in panels if columns]
    figure = Figure(figsize=(7.2, 0.6 + 1.7 * len(panels)), layout="constrained")
    places = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for place, (name, columns) in zip(places, panels, strict=True):
        _draw_panel(place, name, table, columns)
    for name, step in phases.items():
        for place in places:
            place.axvline(step, color="0.35", linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
        where = places[0].get_xaxis_transform()
        places[0].text(step, 1.01, f" phase {name}", transform=where, va="bottom", color="0.35")
    places[-1].set_xlabel("optimiser steps")
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    return figure


def _draw_panel(place: Axes, name: str, table: pl.DataFrame, columns: list[str]) -> None:
    highest: list[float] = []
    for index, column in enumerate(columns):
        rows = table.select(_STEP, column).drop_nulls()
        steps, curve = rows[_STEP].to_numpy(), rows[column].to_numpy()
        few = {"marker": "o", "markersize": 3} if len(curve) <= 40 else {}
        label = column.removeprefix("lr/")
        # Rates of groups may be equal: then the lower, wider line shows around the upper one.
        width = max(1.3, 3.0 - 0.8 * index) if name == "learning rate" else 1.3
        place.plot(steps, curve, linewidth=width, label=label, **line_style(index), **few)
        highest.append(float(np.nanmax(curve)))
    # On a linear scale, the lowest of rates this far apart would lie at zero.
    if name == "learning rate" and max(highest) > 20 * min(highest):
        place.set_yscale("log")
    place.set_ylabel(name)
    plain(place)
    if len(columns) > 1 or name == "loss":
        place.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
