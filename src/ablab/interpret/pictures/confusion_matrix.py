"""The confusion matrix: which classes a classifier mixes up."""

import numpy as np
import polars as pl
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ablab.config.schema import Count, Part
from ablab.data.images.pictures import PictureDataModule
from ablab.figures import styled
from ablab.findings import Findings
from ablab.interpret.pictures.outcomes import Outcomes, outcomes
from ablab.interpret.pictures.picture_grid import shortened
from ablab.training.module import SupervisedModule

Counts = NDArray[np.int64]
_MOST_CLASSES = 50  # with more, the numbers in the cells would not be readable


def confusion_matrix(
    model: SupervisedModule,
    data: PictureDataModule,
    *,
    top: Count = 10,
    part: Part = "test",
) -> Findings:
    """The number of rows of each class by predicted class, as a table and as a picture.

    Args:
        top: how many pairs of classes are shown, most confused first.
        part: part of the data: test, val or train.
    """
    return confusion_findings(outcomes(model, data, part), top)


def confusion_findings(found: Outcomes, top: Count) -> Findings:
    """Return the findings of ``confusion_matrix`` from outcomes."""
    counts = confusion_counts(found.labels.numpy(), found.predictions.numpy(), len(found.classes))
    table = pairs(counts, found.classes)
    confused = table.filter(pl.col("label") != pl.col("prediction"), pl.col("rows") > 0)
    confused = confused.sort("rows", "share_of_label", descending=True, maintain_order=True)
    figure = draw_confusion_matrix(counts, found.classes, f"Part {found.part}: {found.summary()}")
    rows = f"{len(found.labels):,} rows of part {found.part}, accuracy {found.accuracy:.4f}"
    return Findings(
        tables={"confusion_matrix": table},
        figures={"confusion_matrix": figure},
        extracts={f"Most confused of {rows}": confused.head(top)} if len(confused) else {},
    )


def confusion_counts(labels: Counts, predictions: Counts, n_classes: int) -> Counts:
    """labels (N,), predictions (N,) -> rows by true class (down) and predicted class (across)."""
    cells = np.bincount(labels * n_classes + predictions, minlength=n_classes**2)
    return cells.reshape(n_classes, n_classes)


def pairs(counts: Counts, classes: list[str]) -> pl.DataFrame:
    """Return a table with a row for each pair of classes.

    Its columns are ``label``, ``prediction``, ``rows``, and ``share_of_label``: their share of all
    rows of the label, nan if it has none.
    """
    n = len(classes)
    return pl.DataFrame(
        {
            "label": np.repeat(classes, n).tolist(),
            "prediction": classes * n,
            "rows": counts.ravel(),
            "share_of_label": _shares(counts).ravel(),
        }
    )


def _shares(counts: Counts) -> NDArray[np.float64]:
    totals = counts.sum(axis=1, keepdims=True)
    return np.divide(counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)


@styled()
def draw_confusion_matrix(counts: Counts, classes: list[str], title: str) -> Figure:
    """Draw ``counts`` (C, C) in cells shaded by their share of the true class; zeros are blank.

    What is right and what is wrong have scales of their own: on one, the errors of a good
    classifier would be as pale as zero.
    """
    n = len(classes)
    side, size = (0.6, 9) if n <= 5 else (0.42, 8) if n <= 10 else (0.3, 6)  # inches, points
    names = [shortened(name, 24) for name in classes]
    longest = max(map(len, names)) * 0.65 * (size + 1) / 72  # inches
    upright = longest > 0.9 * side
    margins = 1.9 + longest, 1.0 + (longest if upright else 0.2)
    figure = Figure(figsize=(max(3.6, margins[0] + side * n), margins[1] + side * n))
    figure.set_layout_engine("constrained")
    axes = figure.subplots()
    shares = _shares(counts)
    right, errors = np.eye(n, dtype=bool), np.nan_to_num(np.where(np.eye(n), 0.0, shares))
    worst = Normalize(0, errors.max() or 1.0)
    axes.imshow(np.ma.masked_where(~right, shares), cmap="Blues", norm=Normalize(0, 1))
    image = axes.imshow(np.ma.masked_equal(errors, 0), cmap="Oranges", norm=worst)
    if n <= _MOST_CLASSES:
        for row, column in zip(*counts.nonzero(), strict=True):
            shade = shares[row, column] if row == column else worst(errors[row, column])
            colour = "white" if shade > 0.6 else "black"
            text = f"{counts[row, column]}"
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=size)
    axes.set_xticks(range(n), names, rotation=90 if upright else 0, fontsize=size + 1)
    axes.set_yticks(range(n), names, fontsize=size + 1)
    axes.set_xticks(np.arange(n + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(n + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="0.88", linewidth=0.5)
    axes.tick_params(which="both", length=0)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    figure.suptitle(title, fontsize=10)
    figure.colorbar(image, ax=axes, label="errors: share of the true class", shrink=0.8, aspect=30)
    return figure
