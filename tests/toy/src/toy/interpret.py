"""An interpretation of a project: a table of what the model has learned."""

import polars as pl

from ablab import Findings
from toy.data import Ratings
from toy.models import Factors


def item_biases(model: Factors, data: Ratings) -> Findings:
    """Return the bias of each item."""
    biases = model.i_bias.weight.detach().squeeze(1).tolist()
    return Findings(tables={"item_biases": pl.DataFrame({"item": range(len(biases)), "b": biases})})
