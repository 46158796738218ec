"""Entity embeddings as maps: categories that the network treats alike lie close together.

In Guo & Berkhahn (2016), figure 3, the German states, which training knew only as categories, lie
much as they do on the map.
"""

import math

import polars as pl
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn

from ablab.config.schema import Count
from ablab.data.tables.column_encoder import UNKNOWN
from ablab.data.tables.module import TableDataModule
from ablab.errors import UserError
from ablab.figures import COLOURS, plain, styled
from ablab.findings import DPI, Findings
from ablab.interpret.labelled_scatter import label_points
from ablab.interpret.layers.pca import PCA
from lesson5.tables.entity_embedding import EntityEmbedding

FEWEST = 3  # categories of a map: two would only show a distance
LABELLED = 40  # categories with names, those with most rows; with more, the line is a tangle


def category_maps(
    model: EntityEmbedding, data: TableDataModule, *, min_rows: Count = 20
) -> Findings:
    """A map of each categorical column: its embeddings along their two principal axes.

    Columns of fewer than three categories have none. A line joins the categories of a column that
    has an order (numbers, enums).

    Args:
        min_rows: categories of fewer training rows have hollow marks, since they have learned
            little.

    Raises:
        UserError: no column has three categories.
    """
    maps = {
        name: category_map(model, data, name)
        for name, vocabulary in data.encoder.vocabularies.items()
        if len(vocabulary) >= FEWEST
    }
    if not maps:
        raise UserError(f"category_maps: no categorical column has {FEWEST} categories")
    shares = pl.DataFrame(
        [
            {
                "column": name,
                "categories": len(table),
                "length": model.embeddings[_position(data, name)].embedding_dim,
                "axis_1": share[0],
                "axis_2": share[1],
                "fewest_rows": table["rows"].min(),
            }
            for name, (table, share) in maps.items()
        ]
    )
    return Findings(
        tables={
            "category_maps": pl.concat(
                table.select(pl.lit(name).alias("column"), pl.all())
                for name, (table, _) in maps.items()
            ),
            "category_maps_variance": shares,
        },
        figures={"category_maps": draw_maps(maps, data, min_rows=min_rows)},
        extracts={"Embeddings of categories: shares of their variance along two axes": shares},
    )


@torch.no_grad()
def category_map(
    model: EntityEmbedding, data: TableDataModule, name: str
) -> tuple[pl.DataFrame, tuple[float, float]]:
    """Return a column's categories along two axes, and the axes' shares of the variance.

    The table has the categories in ascending order: category (as text), rows (in training), axis_1
    and axis_2. If training rows have missing values, these are the last category.
    """
    position = _position(data, name)
    categories = data.parts["train"][0][:, position]
    weight = model.embeddings[position].get_parameter("weight")
    counts = torch.bincount(categories, minlength=len(weight))
    rows = list(range(1, len(weight)))
    labels = data.encoder.vocabularies[name].cast(pl.String).to_list()
    if counts[UNKNOWN]:
        rows.append(UNKNOWN)
        labels.append("missing")
    pca = PCA.fit(weight[rows].double(), 2)
    along, shares = pca.transform(weight[rows].double()), pca.explained_variance_ratio
    if along.shape[1] == 1:  # an embedding of one number has only one axis
        along, shares = nn.functional.pad(along, (0, 1)), nn.functional.pad(shares, (0, 1))
    table = pl.DataFrame(
        {
            "category": labels,
            "rows": counts[rows].numpy(),
            "axis_1": along[:, 0].numpy(),
            "axis_2": along[:, 1].numpy(),
        }
    )
    return table, (float(shares[0]), float(shares[1]))


@styled()
def draw_maps(
    maps: dict[str, tuple[pl.DataFrame, tuple[float, float]]],
    data: TableDataModule,
    *,
    min_rows: int = 1,
) -> Figure:
    """Draw a panel for each column of ``maps``, which are as ``category_map`` returns them.

    Args:
        maps: by the name of the column.
        data: tells which columns have an order, and what they and their categories are called
            (``titles`` and ``category_titles``, by column, where it has them).
        min_rows: categories of fewer training rows have hollow marks.
    """
    columns = min(2, len(maps))
    rows = math.ceil(len(maps) / columns)
    figure = Figure(figsize=(7.2, 0.3 + 3.0 * rows), dpi=DPI, layout="constrained")
    figure.suptitle(
        f"Embeddings of categories (hollow: fewer than {min_rows} training rows)",
        x=0.01,
        ha="left",
        fontsize=10,
    )
    places = figure.subplots(rows, columns, squeeze=False).flatten()
    for place in places[len(maps) :]:
        place.remove()
    titles: dict[str, str] = getattr(data, "titles", {})
    of_categories: dict[str, dict[str, str]] = getattr(data, "category_titles", {})
    for place, (name, (table, shares)) in zip(places, maps.items(), strict=False):
        title, joined = titles.get(name, name), is_ordered(data, name)
        _draw_points(place, title, table, shares, min_rows=min_rows, joined=joined)
    figure.draw_without_rendering()  # equal scales widen the views, which then stay as they are
    figure.set_layout_engine("none")
    for place in places[: len(maps)]:
        place.autoscale(False)
        place.set_aspect("auto")
    for place, (name, (table, _)) in zip(places, maps.items(), strict=False):
        table = table.sort("rows", descending=True, maintain_order=True)
        points = table.select("axis_1", "axis_2").to_numpy()
        own = of_categories.get(name, {})
        names = [own.get(text, text) for text in map(str, table["category"].head(LABELLED))]
        label_points(place, points, names)
    return figure


def is_ordered(data: TableDataModule, name: str) -> bool:
    """Return whether the categories of a column are numbers or an enum."""
    kind = data.encoder.vocabularies[name].dtype
    return kind.is_numeric() or isinstance(kind, pl.Enum)


def _draw_points(
    place: Axes,
    title: str,
    table: pl.DataFrame,
    shares: tuple[float, float],
    *,
    min_rows: int,
    joined: bool,
) -> None:
    points = table.select("axis_1", "axis_2").to_numpy()
    if joined and len(table) <= LABELLED:
        known = points[(table["category"] != "missing").to_numpy()]
        place.plot(*known.T, color="0.8", linewidth=0.8, zorder=1)
    few = (table["rows"] < min_rows).to_numpy()
    place.scatter(*points[~few].T, s=14, color=COLOURS[0], linewidths=0, zorder=2)
    place.scatter(
        *points[few].T, s=12, facecolors="white", edgecolors=COLOURS[0], linewidths=0.8, zorder=2
    )
    hollow = f", {few.sum()} with few rows" if few.any() else ""
    place.set_title(f"{title}: {len(table)} categories{hollow}", loc="left")
    # One scale for both axes: a distance is then the same in all directions, and an axis of little
    # variance is narrow.
    place.set_aspect("equal", adjustable="datalim")
    place.set_xlabel(f"axis 1 ({shares[0]:.1%} of the variance)")
    place.set_ylabel(f"axis 2 ({shares[1]:.1%} of the variance)")
    place.margins(0.1)
    plain(place)


def _position(data: TableDataModule, name: str) -> int:
    return data.encoder.categorical_names.index(name)
