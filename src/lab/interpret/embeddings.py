"""What the embeddings of a collaborative filter have learned of each item."""

import polars as pl
import torch

from lab.config.schema import Count, Integer
from lab.data.ratings import RatingsDataModule
from lab.interpret.findings import Findings
from lab.models.collab import CollabEnsemble, CollabFilter


def items_by_bias(
    model: CollabFilter | CollabEnsemble,
    data: RatingsDataModule,
    *,
    top: Count = 10,
    min_ratings: Integer = 20,
) -> Findings:
    """The best and worst items by bias: liked or disliked whoever rates them (lesson 5).

    Args:
        top: how many of the best, and of the worst, are shown.
        min_ratings: of fewer training ratings, an item's bias says little; it is left out.
    """
    items = item_biases(model, data)
    rated = items.filter(pl.col("ratings") >= min_ratings)
    of = f"of {len(rated):,} with {min_ratings} ratings or more"
    return Findings(
        tables={"items_by_bias": items},
        extracts={
            f"The {top} best items by bias, {of}": rated.head(top),
            f"The {top} worst items by bias, {of}": rated.tail(top).reverse(),
        },
    )


@torch.no_grad()
def item_biases(model: CollabFilter | CollabEnsemble, data: RatingsDataModule) -> pl.DataFrame:
    """All items from best to worst: title, bias (in units of the sigmoid's argument; mean of the
    members of an ensemble), and mean and number of its training ratings."""
    return pl.DataFrame(
        {
            "title": data.item_names[1:],  # row 0 is the unknown item
            "bias": model.i_bias.weight[1:].mean(dim=1).double().numpy(),
            "mean_rating": data.item_mean_rating[1:],
            "ratings": data.item_rating_count[1:],
        }
    ).sort("bias", descending=True, maintain_order=True)


@torch.no_grad()
def items_by_count(model: CollabFilter, data: RatingsDataModule) -> Findings:
    """Error and mean |q_i| of the items, from their rarest tenth to their commonest.

    On the validation part, where there is one, else on the test part. Under Adam, L2 shrinks rows
    that few batches meet whatever its strength: their gradient is the decay alone, which Adam
    scales to the learning rate (Loshchilov & Hutter 2019, section 3). ``rmse`` is nan without rows.
    """
    part = "val" if "val" in data.parts else "test"
    users, items, ratings = data.parts[part]
    squared_errors = (model(users, items) - ratings).square()
    norms = model.i_weight.weight.norm(dim=1)
    counts = torch.from_numpy(data.item_rating_count)
    by_count = 1 + torch.argsort(counts[1:], stable=True)  # row 0 is the unknown item
    rows = []
    for number, members in enumerate(by_count.tensor_split(10), 1):
        errors = squared_errors[torch.isin(items, members)]
        rows.append(
            {
                "decile": number,
                "fewest_ratings": int(counts[members].min()),
                "most_ratings": int(counts[members].max()),
                "mean_norm": float(norms[members].mean()),
                "rows": len(errors),
                "rmse": float(errors.mean().sqrt()),
            }
        )
    table = pl.DataFrame(rows)
    return Findings(
        tables={"items_by_count": table},
        extracts={f"Items by their number of training ratings, errors on the {part} part": table},
    )
