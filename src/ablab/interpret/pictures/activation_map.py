"""A map of pictures: a layer's activations along the directions in which they differ most."""

import polars as pl
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from torch import Tensor

from ablab.config.schema import Part, Text
from ablab.data.images.pictures import PictureDataModule
from ablab.figures import COLOURS, MARKERS, MORE_COLOURS, legend_below, plain, styled
from ablab.findings import Findings
from ablab.interpret.layers.activations import described
from ablab.interpret.layers.pca import PCA
from ablab.interpret.pictures.outcomes import Outcomes, outcomes
from ablab.training.module import SupervisedModule

_AXES = 3  # in the table; the first two are drawn
_MOST_NAMES = 12  # with more classes, names within the picture would overlap


def activation_map(
    model: SupervisedModule,
    data: PictureDataModule,
    *,
    layer: Text | None = None,
    part: Part = "test",
) -> Findings:
    """The principal components of a layer's activations, as a map of the pictures by class.

    Args:
        layer: the dotted name of a layer, such as body.6 or lin1, whose output is taken; none for
            the input of the last linear layer.
        part: part of the data: test, val or train.
    """
    return activation_map_findings(outcomes(model, data, part, layer), layer)


def activation_map_findings(found: Outcomes, layer: str | None) -> Findings:
    """Return the findings of ``activation_map`` from outcomes with the layer's activations."""
    fitted = PCA.fit(found.activations, found.activations.shape[1])
    coordinates = torch.zeros(len(found.labels), _AXES)
    along = fitted.transform(found.activations)[:, :_AXES]
    coordinates[:, : along.shape[1]] = along  # fewer columns with fewer rows or features
    shares = fitted.explained_variance_ratio
    variance = pl.DataFrame(
        {
            "component": range(1, len(shares) + 1),
            "share_of_variance": shares.numpy(),
            "cumulative_share": shares.cumsum(dim=0).numpy(),
        }
    )
    axes = {f"pc_{i + 1}": coordinates[:, i].numpy() for i in range(_AXES)}
    table = found.table().select("image", "label", "prediction").with_columns(**axes)
    features = f"{found.activations.shape[1]:,} features"
    title = f"{len(table):,} pictures of part {found.part} by the {described(layer)} ({features})"
    return Findings(
        tables={"activation_map": table, "activation_map_variance": variance},
        figures={"activation_map": draw_activation_map(found, coordinates, shares, title)},
        extracts={f"Principal components of the {described(layer)}": variance.head(5)},
    )


@styled()
def draw_activation_map(found: Outcomes, coordinates: Tensor, shares: Tensor, title: str) -> Figure:
    """Draw the pictures as points with a colour and a marker for each class.

    The name of a class stands at the median of its points. Mistakes have a black edge.

    Args:
        found: the classes and predictions of the N pictures.
        coordinates: (N, 2 or more).
        shares: of the variance along the coordinates.
        title: above the figure.
    """
    figure = Figure(figsize=(7.2, 5.2), layout="constrained")
    axes = figure.subplots()
    wrong = found.predictions != found.labels
    colours = COLOURS if len(found.classes) <= len(COLOURS) else MORE_COLOURS
    for index, name in enumerate(found.classes):
        of_class = found.labels == index
        colour, marker = colours[index % len(colours)], MARKERS[index % len(MARKERS)]
        for rows, label, edge in ((~wrong, name, "none"), (wrong, "", "black")):
            axes.scatter(
                *coordinates[of_class & rows, :2].T,
                s=16,
                color=colour,
                marker=marker,
                alpha=0.75,
                edgecolors=edge,
                linewidths=0.6,
                label=label,
            )
    legend = "black edge: predicted as another class"
    if len(found.classes) <= _MOST_NAMES:
        _name_classes(axes, found, coordinates)
        legend = f"names at the medians of the true classes; {legend}"
        figure.legend(loc="outside right center", frameon=False, title="true class")
    else:
        legend_below(figure, axes)
    for axis, number in ((axes.xaxis, 0), (axes.yaxis, 1)):
        share = float(shares[number]) if number < len(shares) else 0.0
        axis.set_label_text(f"component {number + 1} ({share:.1%} of the variance)")
    axes.set_title(f"{title}\n{legend}", loc="left")
    plain(axes)
    return figure


def _name_classes(axes: Axes, found: Outcomes, coordinates: Tensor) -> None:
    for index in found.labels.unique().tolist():
        x, y = coordinates[found.labels == index, :2].median(dim=0).values.tolist()
        outline = [withStroke(linewidth=2.5, foreground="white")]
        name = found.classes[index]
        axes.text(x, y, name, ha="center", va="center", weight="bold", path_effects=outline)
