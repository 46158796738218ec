"""What ``ablab interpret`` offers for the runs of this project."""

import polars as pl
import torch

from ablab import Findings, UserError
from ablab.config.schema import Count, Integer, Part
from toy.data import Ratings
from toy.models import Factors

KINDS = {"ratings": {"errors": "toy.interpretations.errors"}}


@torch.no_grad()
def errors(
    model: Factors,
    data: Ratings,
    *,
    top: Count = 3,
    users: list[Integer] | None = None,
    part: Part = "test",
) -> Findings:
    """The rows with the largest errors (in absolute terms).

    Args:
        top: how many are shown.
        users: rows of other users are left out; none for all rows.
        part: of the data that is looked at: test, val or train.

    Raises:
        UserError: no row is left.
    """
    user, item, rating = data.parts[part]
    error = (model(user, item) - rating).abs().double()
    columns = {"user": user.numpy(), "item": item.numpy(), "error": error.numpy()}
    table = pl.DataFrame(columns).sort("error", descending=True)
    if users is not None:
        table = table.filter(pl.col("user").is_in(users))
    if not len(table):
        raise UserError(f"errors: part {part} has no row of the users {users}")
    return Findings(tables={"errors": table}, extracts={"The largest errors": table.head(top)})
