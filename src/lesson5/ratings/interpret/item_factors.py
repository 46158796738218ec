"""The factors of items: their principal axes, and the items nearest to one."""

import numpy as np
import polars as pl
import torch
from matplotlib.figure import Figure

from ablab.config.schema import Count, Text
from ablab.errors import UserError
from ablab.figures import COLOURS, plain, styled
from ablab.findings import DPI, Findings
from ablab.interpret.labelled_scatter import label_points
from ablab.interpret.layers.pca import PCA
from lesson5.ratings.collab_filter import CollabFilter
from lesson5.ratings.interpret.titles import find_item
from lesson5.ratings.module import RatingsDataModule

N_AXES = 3


def item_factors(
    model: CollabFilter,
    data: RatingsDataModule,
    *,
    top: Count = 10,
    min_ratings: Count = 15,
    x_axis: Count = 1,
    y_axis: Count = 2,
    labels: Count = 50,
) -> Findings:
    """The first three principal axes of the item factors: extremes of each, and a labelled map.

    Along these axes the factors of items with enough ratings differ most (PCA). Factors of users
    and items that are rotated together predict the same, and have the same axes. The end of an axis
    towards higher mean ratings is called the highest. The data does not say what an axis stands
    for.

    Args:
        top: how many items are shown of each end of an axis.
        min_ratings: items of fewer training ratings are left out.
        x_axis, y_axis: axes of the map.
        labels: how many of the most rated items have their titles in the map, where there is room.

    Raises:
        UserError: there is no item with enough ratings, or no such axis.
    """
    table, shares = principal_axes(model, data, min_ratings=min_ratings)
    if x_axis == y_axis:
        raise UserError(f"item_factors: a map needs two axes, and both are {x_axis}")
    for axis in (x_axis, y_axis):
        if axis > len(shares):
            raise UserError(
                f"item_factors: there is no axis {axis}; the {len(table)} items with {min_ratings} "
                f"ratings or more have {len(shares)}"
            )
    extracts = {
        f"Axis {axis} of the item factors, {share:.1%} of their variance: its two ends": pl.concat(
            [
                _end(table, axis, top, "highest", descending=True),
                _end(table, axis, top, "lowest", descending=False),
            ],
            how="horizontal",
        )
        for axis, share in enumerate(shares, 1)
    }
    axes_table = pl.DataFrame({"axis": range(1, len(shares) + 1), "explained_variance": shares})
    title = f"Factors of {len(table):,} items with {min_ratings} training ratings or more"
    figure = draw_map(table, shares, x_axis=x_axis, y_axis=y_axis, labels=labels, title=title)
    return Findings(
        tables={"item_factors": table, "item_factors_variance": axes_table},
        figures={"item_factors": figure},
        extracts=extracts,
    )


@torch.no_grad()
def principal_axes(
    model: CollabFilter, data: RatingsDataModule, *, min_ratings: int
) -> tuple[pl.DataFrame, list[float]]:
    """Return the items along the axes, and each axis' share of the variance of the factors.

    The table has the items with enough training ratings, most rated first: title, mean_rating,
    ratings, and axis_1 to axis_3, or fewer where there are fewer items or factors. The positive end
    of an axis is the one towards higher mean ratings.

    Raises:
        UserError: no item has enough ratings.
    """
    rows = enough_rated(data, min_ratings)
    factors = model.i_weight.weight[rows].double()
    pca = PCA.fit(factors, N_AXES)
    coordinates = pca.transform(factors).numpy()
    mean_rating = data.item_mean_rating[rows.numpy()]
    against = (mean_rating - mean_rating.mean()) @ coordinates < 0
    coordinates = np.where(against, -coordinates, coordinates)
    axes = {f"axis_{k}": column for k, column in enumerate(coordinates.T, 1)}
    table = pl.DataFrame({**_described(data, rows), **axes})
    return table, pca.explained_variance_ratio.tolist()


@styled()
def draw_map(
    table: pl.DataFrame,
    shares: list[float],
    *,
    x_axis: int = 1,
    y_axis: int = 2,
    labels: int = 50,
    title: str = "",
) -> Figure:
    """Draw two axes of a table of ``principal_axes`` against each other.

    The titles of its first ``labels`` rows stand beside them, as far as they do not overlap.
    """
    figure = Figure(figsize=(7.2, 6.6), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    points = table.select(f"axis_{x_axis}", f"axis_{y_axis}").to_numpy()
    named, rest = points[:labels], points[labels:]
    axes.scatter(*named.T, s=12, color=COLOURS[0], linewidths=0, zorder=2)
    axes.scatter(*rest.T, s=5, color="0.82", linewidths=0)
    axes.margins(0.1)
    axes.set_xlabel(f"axis {x_axis} ({shares[x_axis - 1]:.1%} of the variance)")
    axes.set_ylabel(f"axis {y_axis} ({shares[y_axis - 1]:.1%} of the variance)")
    axes.set_title(f"{title}; in blue: the {len(named)} most rated", loc="left")
    plain(axes)
    label_points(axes, named, table["title"].head(labels).to_list(), size=6.5)
    return figure


def similar_items(
    model: CollabFilter,
    data: RatingsDataModule,
    *,
    item: Text | None = None,
    top: Count = 10,
    min_ratings: Count = 15,
) -> Findings:
    """The items nearest to one by the cosine of their factors: liked by much the same people.

    This is chapter 8 of the fastai book (Howard & Gugger 2020). Biases play no part: an item may be
    near one that is much better.

    Args:
        item: its title, a part of it that no other title has, or its id.
        top: how many items are shown.
        min_ratings: other items of fewer training ratings are left out.

    Raises:
        UserError: no item is given, or there is none of this title, or several.
    """
    if item is None:
        raise UserError('similar_items: no item is given; give --item "TITLE", or a part of it')
    index = find_item(data, item)
    table = cosine_similarities(model, data, index, min_ratings=min_ratings)
    of = f"of {len(table):,} with {min_ratings} ratings or more"
    whole = table.insert_column(0, pl.lit(data.item_names[index]).alias("similar_to"))
    return Findings(
        tables={"similar_items": whole},
        extracts={f"Nearest to {data.item_names[index]}, {of}": table.head(top).drop("similar_to")},
    )


@torch.no_grad()
def cosine_similarities(
    model: CollabFilter, data: RatingsDataModule, index: int, *, min_ratings: int
) -> pl.DataFrame:
    """Return cos(q_i, q_index) of all other items with enough ratings, by falling cosine.

    The columns are title, cosine, mean_rating and ratings. The cosine of factors that are all zero
    is 0.
    """
    rows = enough_rated(data, min_ratings)
    rows = rows[rows != index]
    factors = model.i_weight.weight.double()
    cosine = torch.nn.functional.cosine_similarity(factors[rows], factors[index], dim=1)
    described = pl.DataFrame(_described(data, rows))
    return described.insert_column(1, pl.Series("cosine", cosine.numpy())).sort(
        "cosine", descending=True, maintain_order=True
    )


def enough_rated(data: RatingsDataModule, min_ratings: int) -> torch.Tensor:
    """Return the indices of the items with ``min_ratings`` training ratings, most rated first.

    Raises:
        UserError: no item has so many.
    """
    counts = torch.from_numpy(data.item_rating_count)[1:]  # row 0 is the unknown item
    rows = torch.argsort(counts, descending=True, stable=True)
    rows = 1 + rows[counts[rows] >= min_ratings]
    if not len(rows):
        raise UserError(
            f"no item has {min_ratings} training ratings, and the most rated one has "
            f"{int(counts.max())}; set a smaller min_ratings"
        )
    return rows


def _described(data: RatingsDataModule, rows: torch.Tensor) -> dict[str, object]:
    return {
        "title": [data.item_names[row] for row in rows.tolist()],
        "mean_rating": data.item_mean_rating[rows.numpy()],
        "ratings": data.item_rating_count[rows.numpy()],
    }


def _end(table: pl.DataFrame, axis: int, top: int, name: str, *, descending: bool) -> pl.DataFrame:
    column = f"axis_{axis}"
    end = table.sort(column, descending=descending, maintain_order=True).head(top)
    return end.select(pl.col("title").alias(name))
