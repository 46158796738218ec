"""Entity embeddings of categorical columns (Guo & Berkhahn 2016), as in fastai's TabularModel."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from ablab.config.schema import Count, Flag, Fraction, Integer, Number
from ablab.errors import ConfigError
from ablab.training.module import SupervisedModule
from lesson5.layers import embedding, in_range

SizeRule = Literal[2018, "later"]


def embedding_size(n_categories: int, rule: SizeRule) -> int:
    """Return fastai's length of an embedding of ``n_categories``, the unknown one included.

    The rule of 2018 (1.0.28, the course's version) is min(50, n // 2 + 1); the later one (from
    1.0.30) is min(600, round(1.6 · n^0.56)).
    """
    if rule == 2018:
        return min(50, n_categories // 2 + 1)
    return min(600, round(1.6 * n_categories**0.56))


class EntityEmbedding(SupervisedModule):
    """Each category is a learned vector; these, beside the continuous columns, feed a network.

    The layout is that of fastai v1: dropout on the joined embeddings, batch norm on the continuous
    columns, Linear-ReLU, then blocks of BatchNorm-Dropout-Linear-ReLU and a last one without ReLU.
    Category 0 of a column is the unknown one. Its embedding is zero, unless missing values in
    training rows change it.

    Args:
        n_categories: number of categories of each categorical column, the unknown one included.
        n_continuous: number of continuous columns.
        layers: widths of the hidden layers.
        dropouts: dropout on the output of each hidden layer.
        embedding_dropout: dropout on the joined embeddings.
        embedding_size_rule: the rule for the length of an embedding (``embedding_size``).
        batch_norm: whether continuous columns and hidden layers are normalised over the batch.
        y_range: ends of a sigmoid on the output, in the units that the loss takes: logs under
            ``SquaredLogError``; None for a linear output.
        n_classes: number of classes, for logits of them; n_targets: number of columns that are
            predicted. Without either the output is one number a row.

    Raises:
        ConfigError: ``layers`` and ``dropouts`` differ in length, or there is no column.
    """

    def __init__(
        self,
        n_categories: list[Count],
        n_continuous: Integer,
        layers: list[Count],
        dropouts: list[Fraction],
        embedding_dropout: Fraction = 0.0,
        embedding_size_rule: Literal[2018, "later"] = "later",
        batch_norm: Flag = True,
        y_range: tuple[Number, Number] | None = None,
        n_classes: Count | None = None,
        n_targets: Count | None = None,
    ) -> None:
        super().__init__()
        if len(layers) != len(dropouts):
            raise ConfigError(
                f"model.dropouts: {len(dropouts)} for {len(layers)} layers; each layer needs one"
            )
        if not n_categories and not n_continuous:
            raise ConfigError("model: the data have no column but the target")
        self.n_categories = tuple(n_categories)
        sizes = [embedding_size(n, embedding_size_rule) for n in n_categories]
        self.embeddings = nn.ModuleList(
            embedding(n, size) for n, size in zip(n_categories, sizes, strict=True)
        )
        self.embedding_dropout = nn.Dropout(embedding_dropout)
        normalised = batch_norm and n_continuous > 0
        self.continuous_norm = nn.BatchNorm1d(n_continuous) if normalised else nn.Identity()
        self.one_number = n_classes is None and n_targets is None
        widths = [sum(sizes) + n_continuous, *layers, n_classes or n_targets or 1]
        blocks: list[nn.Module] = []
        for index, (before, after) in enumerate(pairwise(widths)):
            if index > 0:
                blocks += [nn.BatchNorm1d(before)] if batch_norm else []
                blocks += [nn.Dropout(dropouts[index - 1])]
            blocks += [nn.Linear(before, after), nn.ReLU()]
        self.layers = nn.Sequential(*blocks[:-1])
        self.y_range = y_range

    def layer_groups(self) -> Mapping[str, Sequence[nn.Module | nn.Parameter]]:
        layers = {"layers": [self.continuous_norm, self.layers]}
        return {"embeddings": [self.embeddings], **layers} if len(self.embeddings) else layers

    def embed(self, categories: Tensor) -> Tensor:
        """categories (B, n_categorical) int64 -> their vectors, joined (B, sum of sizes)."""
        if not len(self.embeddings):
            return categories.new_zeros((len(categories), 0), dtype=torch.float32)
        columns = zip(self.embeddings, categories.unbind(dim=1), strict=True)
        return torch.cat([layer(column) for layer, column in columns], dim=1)

    @property
    def output_range(self) -> tuple[float, float] | None:
        return self.y_range

    def forward(self, categories: Tensor, continuous: Tensor) -> Tensor:
        """categories (B, n_categorical) int64, continuous (B, n_continuous) float32 -> (B,).

        Of classes or several targets the output is (B, n_classes) or (B, n_targets).
        """
        vectors = self.embedding_dropout(self.embed(categories))
        joined = torch.cat([vectors, self.continuous_norm(continuous)], dim=1)
        output = self.layers(joined)
        return in_range(output.squeeze(1) if self.one_number else output, self.y_range)
