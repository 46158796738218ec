"""Items by their bias, and their errors by how often they are rated."""

import numpy as np
import polars as pl
import torch
from matplotlib.figure import Figure
from numpy.polynomial import Polynomial

from ablab.config.schema import Count
from ablab.errors import UserError
from ablab.figures import COLOURS, plain, styled
from ablab.findings import DPI, Findings
from ablab.interpret.labelled_scatter import label_points
from lesson5.ratings.collab_filter import CollabFilter
from lesson5.ratings.interpret.item_factors import enough_rated
from lesson5.ratings.module import RatingsDataModule


def items_by_bias(
    model: CollabFilter,
    data: RatingsDataModule,
    *,
    top: Count = 15,
    min_ratings: Count = 15,
) -> Findings:
    """The best and worst items by bias: liked or disliked whoever rates them (lesson 5).

    The lesson takes the 1,000 most rated movies; 993 have 15 ratings in its training part.

    Args:
        top: how many of the best, and of the worst, are shown.
        min_ratings: items of fewer training ratings are left out, since their bias says little.

    Raises:
        UserError: the model has no biases, or no item has enough ratings.
    """
    items = item_biases(model, data)
    enough_rated(data, min_ratings)
    rated = items.filter(pl.col("ratings") >= min_ratings)
    top = min(top, len(rated))
    of = f"of {len(rated):,} with {min_ratings} ratings or more"
    return Findings(
        tables={"items_by_bias": items},
        figures={"items_by_bias": draw_biases(rated, top=top, title=f"Items by bias, {of}")},
        extracts={
            f"The {top} best items by bias, {of}": rated.head(top),
            f"The {top} worst items by bias, {of}": rated.tail(top).reverse(),
        },
    )


@torch.no_grad()
def item_biases(model: CollabFilter, data: RatingsDataModule) -> pl.DataFrame:
    """Return all items from best to worst: title, bias, mean_rating and ratings in training.

    The bias is in units of the sigmoid's argument.

    Raises:
        UserError: the model has no biases.
    """
    if not model.biases:
        raise UserError("the model has no biases (model.biases=false), so there are none to show")
    return pl.DataFrame(
        {
            "title": data.item_names[1:],  # row 0 is the unknown item
            "bias": model.i_bias.weight[1:].squeeze(1).double().numpy(),
            "mean_rating": data.item_mean_rating[1:],
            "ratings": data.item_rating_count[1:],
        }
    ).sort("bias", descending=True, maintain_order=True)


@styled()
def draw_biases(items: pl.DataFrame, *, top: int = 15, title: str = "") -> Figure:
    """Draw the bias of ``items`` against their mean rating, and the least-squares parabola.

    The ``top`` items furthest above it, and below, have their titles where there is room: a bias
    says more than the mean where an item's raters differ from others in bias and factors.

    Args:
        items: rows of ``item_biases``.
        top: how many are named above the parabola, and below it.
        title: above the figure.
    """
    figure = Figure(figsize=(7.2, 6.0), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    mean, bias = points = items.select("mean_rating", "bias").to_numpy().T
    degree = min(2, len(np.unique(mean)) - 1)
    trend = Polynomial.fit(mean, bias, degree, domain=[])  # that of one mean would be a point
    line = np.linspace(mean.min(), mean.max(), 100)
    axes.plot(line, trend(line), color="0.5", linewidth=1, linestyle="--", zorder=1)
    axes.scatter(*points, s=6, color="0.78", linewidths=0)
    by_surprise = np.argsort(trend(mean) - bias, kind="stable")
    above, below = by_surprise[:top], by_surprise[top:][-top:][::-1]
    axes.set_xlabel("mean rating in training")
    axes.set_ylabel("bias, in units of the sigmoid's argument")
    axes.set_title(
        f"{title};\nin colour: furthest above, and below, the trend, as far as there is room to "
        "name them",
        loc="left",
    )
    axes.margins(0.1)
    plain(axes)
    named = np.concatenate([above, below])
    titles = [items["title"][int(row)] for row in named]
    texts = label_points(axes, points[:, named].T, titles, size=6.5)
    written = {text.get_text() for text in texts}
    for rows, colour in ((above, COLOURS[0]), (below, COLOURS[1])):
        rows = [row for row in rows if items["title"][int(row)] in written]
        axes.scatter(*points[:, rows], s=12, color=colour, linewidths=0, zorder=2)
    return figure


@torch.no_grad()
def items_by_count(model: CollabFilter, data: RatingsDataModule) -> Findings:
    """The error and mean |q_i| of the items, from their rarest tenth to their commonest.

    The errors are those of the validation part, or of the test part if there is none; ``rmse`` is
    nan without rows. Under Adam, L2 shrinks the rows that few batches contain, whatever its
    strength: their gradient is the decay alone, which Adam scales to the learning rate (Loshchilov
    & Hutter 2019, section 3).
    """
    part = "val" if "val" in data.parts else "test"
    users, items, ratings = data.parts[part]
    squared_errors = (model(users, items) - ratings).square()
    norms = model.i_weight.weight.norm(dim=1)
    counts = torch.from_numpy(data.item_rating_count)
    by_count = 1 + torch.argsort(counts[1:], stable=True)  # row 0 is the unknown item
    rows = []
    for number, tenth in enumerate(by_count.tensor_split(10), 1):
        errors = squared_errors[torch.isin(items, tenth)]
        rows.append(
            {
                "decile": number,
                "fewest_ratings": int(counts[tenth].min()),
                "most_ratings": int(counts[tenth].max()),
                "mean_norm": float(norms[tenth].mean()),
                "rows": len(errors),
                "rmse": float(errors.mean().sqrt()),
            }
        )
    table = pl.DataFrame(rows)
    return Findings(
        tables={"items_by_count": table},
        extracts={f"Items by their number of training ratings, errors on the {part} part": table},
    )
