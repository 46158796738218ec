"""An interpretation of a project: a table of what the model has learned."""

import polars as pl

from ablab import Findings
from ablab.config.schema import Count
from toy.data import Ratings
from toy.models import Factors


def item_biases(model: Factors, data: Ratings, top: Count | None = None) -> Findings:
    """Return the bias of each item, or of the first ``top``."""
    biases = model.i_bias.weight.detach().squeeze(1).tolist()[:top]
    return Findings(tables={"item_biases": pl.DataFrame({"item": range(len(biases)), "b": biases})})
