"""The pictures that a classifier is most wrong about."""

from typing import Any

import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ablab.config.schema import Count, Part
from ablab.data.images.pictures import PictureDataModule
from ablab.figures import styled
from ablab.findings import Findings
from ablab.interpret.pictures.outcomes import Outcomes, outcomes
from ablab.interpret.pictures.picture_grid import RIGHT, WRONG, draw_picture, shortened
from ablab.training.module import SupervisedModule

_COLUMNS = 6
_LETTERS = 17  # of a line of a caption, so that it does not run into the next one


def top_losses(
    model: SupervisedModule,
    data: PictureDataModule,
    *,
    top: Count = 12,
    part: Part = "test",
) -> Findings:
    """The pictures with the highest loss, with what was predicted; all rows as a table.

    The loss is that of the objective, for each row.

    Args:
        top: how many are shown.
        part: part of the data: test, val or train.
    """
    return top_losses_findings(outcomes(model, data, part), data, top)


def top_losses_findings(found: Outcomes, data: PictureDataModule, top: Count) -> Findings:
    """Return the findings of ``top_losses`` from outcomes."""
    order = torch.argsort(found.losses, descending=True, stable=True).tolist()
    table = found.table()[order]
    shown = table.head(top)
    pictures = data.pictures(found.part, order[:top])
    wrong = (found.predictions != found.labels)[order[:top]].tolist()
    captions = [
        f"{WRONG if mistaken else RIGHT} {shortened(row['prediction'], _LETTERS - 2)}\n"
        f"is {shortened(row['label'], _LETTERS - 3)}\n"
        f"p = {row['probability']:.3f}, loss {row['loss']:.2f}\n"
        f"{shortened(row['image'], _LETTERS)}"
        for row, mistaken in zip(shown.iter_rows(named=True), wrong, strict=True)
    ]
    of = f"of part {found.part}, with the predicted class and its p ({found.summary()})"
    return Findings(
        tables={"top_losses": table},
        figures={"top_losses": draw_losses(pictures, captions, wrong, f"Highest loss {of}")},
        extracts={f"The highest losses of {len(table):,} rows of part {found.part}": shown},
    )


@styled()
def draw_losses(
    pictures: NDArray[Any], captions: list[str], wrong: list[bool], title: str
) -> Figure:
    """Draw ``pictures`` (n, H, W) or (n, H, W, 3) with captions; dashed frames where ``wrong``."""
    rows = -(-len(pictures) // _COLUMNS)
    figure = Figure(figsize=(7.2, 0.4 + 1.75 * rows), layout="constrained")
    places = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for axes in places[len(pictures) :]:
        axes.set_axis_off()
    for axes, picture, caption, mistaken in zip(places, pictures, captions, wrong, strict=False):
        draw_picture(axes, picture, caption, right=not mistaken)
    figure.suptitle(title, x=0.01, ha="left", fontsize=9)
    return figure
