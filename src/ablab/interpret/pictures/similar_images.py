"""The training pictures most like a test picture, by a layer's activations.

A layer can have too many activations for a search. Their main components are few, and give much the
same neighbours.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from ablab.config.schema import Count, Integer, Text
from ablab.config.suggestions import suggestion
from ablab.data.images.pictures import PictureDataModule
from ablab.errors import UserError
from ablab.figures import styled
from ablab.findings import Findings
from ablab.interpret.layers.activations import activations, described
from ablab.interpret.layers.pca import PCA
from ablab.interpret.pictures.picture_grid import RIGHT, WRONG, draw_picture, shortened
from ablab.training.module import SupervisedModule

_MOST_QUERIES = 10  # chosen if no images are given
_ROOM_FOR_UNIT = 14  # letters of a line below a picture
_BLOCK = 1024  # queries whose distances to all rows are in memory at once


def similar_images(
    model: SupervisedModule,
    data: PictureDataModule,
    *,
    images: list[Integer | Text] | None = None,
    layer: Text | None = None,
    components: Count = 32,
    top: Count = 6,
) -> Findings:
    """The training pictures nearest to test pictures, on the main components of a layer.

    Distances are Euclidean. The table of ranks shows how often the first, second, … neighbour of a
    test picture is of the same class, over all test pictures; rank 1 is the accuracy of the
    nearest-neighbour rule.

    Args:
        images: test pictures, by their names in the tables of a run or by number from 0; none for
            the first of each class, of ten classes at most.
        layer: the dotted name of a layer, such as body.6 or lin1, whose output is taken; none for
            the input of the last linear layer.
        components: number of principal components of the training pictures' activations; all of
            them give the distances of the activations themselves.
        top: number of neighbours of each picture.

    Raises:
        UserError: there is no such picture or layer.
    """
    chosen = _chosen(data, images)
    train, test = (activations(model, data, part, layer) for part in ("train", "test"))
    pca = PCA.fit(train, components)
    distances, neighbours = nearest(pca.transform(test), pca.transform(train), top)
    labels = {part: data.labels(part) for part in ("train", "test")}
    same = labels["train"][neighbours] == labels["test"][:, None]
    ranks = pl.DataFrame(
        {
            "rank": range(1, same.shape[1] + 1),
            "same_class_share": same.double().mean(dim=0).numpy(),
            "mean_distance": distances.double().mean(dim=0).numpy(),
        }
    )
    table = _neighbours_of(data, chosen, distances[chosen], neighbours[chosen])
    share = float(pca.explained_variance_ratio.sum())
    of = f"{len(pca.components)} components of the {described(layer)} ({share:.0%} of its variance)"
    figure = draw_neighbours(
        data.pictures("test", chosen),
        [data.pictures("train", row) for row in neighbours[chosen].tolist()],
        table,
        "Test pictures (left) and their nearest training pictures, with class and distance\n"
        f"by {of}",
    )
    return Findings(
        tables={"similar_images": table, "similar_images_ranks": ranks},
        figures={"similar_images": figure},
        extracts={f"Neighbours of {len(test):,} test pictures, by {of}": ranks},
    )


def nearest(queries: Tensor, rows: Tensor, top: int) -> tuple[Tensor, Tensor]:
    """Find the ``top`` nearest of ``rows`` (N, F) for each of the queries (Q, F).

    Returns:
        Euclidean distances, rising, and row numbers, both (Q, min(top, N)).
    """
    found = [
        torch.cdist(block, rows).topk(min(top, len(rows)), largest=False)
        for block in queries.split(_BLOCK)
    ]
    return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])


def _chosen(data: PictureDataModule, images: Sequence[int | str] | None) -> list[int]:
    """Return the rows of the test part. Raises UserError for a picture that is not in it."""
    if not images:
        labels = data.labels("test").numpy()
        return np.unique(labels, return_index=True)[1][:_MOST_QUERIES].tolist()
    names = data.picture_names("test")
    rows = {str(row): row for row in range(len(names))} | {n: row for row, n in enumerate(names)}
    for image in images:
        if str(image) not in rows:
            raise UserError(
                f"no test picture '{image}'{suggestion(str(image), names)}; there are "
                f"{len(names):,}, by number from 0, or by name from '{names[0]}' to '{names[-1]}'"
            )
    return [rows[str(image)] for image in images]


def _neighbours_of(
    data: PictureDataModule, chosen: list[int], distances: Tensor, neighbours: Tensor
) -> pl.DataFrame:
    labels = {part: data.labels(part).tolist() for part in ("train", "test")}
    classes = data.class_names(1 + max(map(max, labels.values())))
    test_names, train_names = (data.picture_names(part) for part in ("test", "train"))
    return pl.DataFrame(
        [
            {
                "image": test_names[query],
                "label": classes[labels["test"][query]],
                "rank": rank,
                "neighbour": train_names[neighbour],
                "neighbour_label": classes[labels["train"][neighbour]],
                "distance": distance,
            }
            for query, far, rows in zip(
                chosen, distances.tolist(), neighbours.tolist(), strict=True
            )
            for rank, (distance, neighbour) in enumerate(zip(far, rows, strict=True), 1)
        ]
    )


@styled()
def draw_neighbours(
    queries: NDArray[Any], neighbours: list[NDArray[Any]], table: pl.DataFrame, title: str
) -> Figure:
    """Draw each query with its neighbours beside it.

    Neighbours of another class have a dashed frame and a cross.

    Args:
        queries: pictures (n, H, W) or (n, H, W, 3).
        neighbours: pictures of the neighbours of each query.
        table: with a row for each neighbour, in the same order.
        title: above the figure.
    """
    columns = 1 + len(neighbours[0])
    width = 7.2 / columns
    height = 0.32 + min(width, 0.85)  # ten queries fit a page
    figure = Figure(figsize=(7.2, 0.5 + height * len(queries)), layout="constrained")
    places = figure.subplots(len(queries), columns, squeeze=False)
    length = max(6, int(14 * width))
    named = table.rows(named=True)
    for number, (row, query, others) in enumerate(zip(places, queries, neighbours, strict=True)):
        of_query = named[number * len(others) : (number + 1) * len(others)]
        names = (shortened(of_query[0][column], length) for column in ("label", "image"))
        draw_picture(row[0], query, "\n".join(names), right=None)
        row[0].xaxis.label.set_weight("bold")
        for axes, picture, neighbour in zip(row[1:], others, of_query, strict=True):
            same = neighbour["label"] == neighbour["neighbour_label"]
            label = shortened(neighbour["neighbour_label"], length)
            unit = "distance " if length >= _ROOM_FOR_UNIT else ""
            caption = f"{RIGHT if same else WRONG} {label}\n{unit}{neighbour['distance']:#.3g}"
            draw_picture(axes, picture, caption, right=same)
    figure.suptitle(title, x=0.01, ha="left", fontsize=9)
    return figure
