"""Maps of categories, against embeddings that are given."""

import numpy as np
import polars as pl
import pytest
import torch

from ablab.data.tables.module import TableDataModule
from ablab.errors import UserError
from lesson5.tables.entity_embedding import EntityEmbedding
from lesson5.tables.interpret.category_maps import category_map, category_maps, is_ordered

COLOURS = ["red", "green", "blue", "$_[grün]"]


class FourColours(TableDataModule):
    """Colours by 3, 2, 1 and 1 training rows; sizes in an order of their own; a flag of two."""

    target = "y"
    columns: tuple[str, ...] = ("colour", "size", "flag")

    def load_table(self) -> tuple[pl.DataFrame, str]:
        size = pl.Series(["S", "M", "L", "S", "M", "L", "S", "S"], dtype=pl.Enum(["S", "M", "L"]))
        colours = [COLOURS[k] for k in (0, 0, 0, 1, 1, 2, 3, 0)]
        table = {"colour": colours, "size": size, "flag": [0, 1] * 4, "y": range(8)}
        return pl.DataFrame(table), "this test"

    def split_rows(self, table: pl.DataFrame) -> dict[str, np.ndarray]:
        return {"train": np.arange(7), "test": np.array([7])}

    def column_kinds(self, train: pl.DataFrame) -> tuple[list[str], list[str]]:
        return list(self.columns), []


def colours(*columns: str) -> tuple[EntityEmbedding, TableDataModule]:
    data = FourColours()
    data.columns = columns or data.columns
    data.setup("fit")
    model = EntityEmbedding(**data.sizes, layers=[2], dropouts=[0.0])
    return model.eval(), data


def give(model: EntityEmbedding, column: int, rows: list[list[float]]) -> None:
    weight = model.embeddings[column].get_parameter("weight")
    with torch.no_grad():
        weight.zero_()
        weight[1:, : len(rows[0])] = torch.tensor(rows)


def test_a_map_has_the_embeddings_along_their_axes() -> None:
    model, data = colours()
    # in the order of the vocabulary: $_[grün], blue, green, red
    give(model, 0, [[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    table, shares = category_map(model, data, "colour")
    assert table["category"].to_list() == ["$_[grün]", "blue", "green", "red"]
    assert table["rows"].to_list() == [1, 1, 2, 3]
    assert table["axis_1"].to_list() == pytest.approx([2, -2, 0, 0])
    assert table["axis_2"].to_list() == pytest.approx([0, 0, 1, -1])
    assert shares == pytest.approx((0.8, 0.2))


def test_columns_of_three_categories_or_more_are_drawn_in_their_order() -> None:
    model, data = colours()
    findings = category_maps(model, data, min_rows=2)
    tables = findings.tables
    assert tables["category_maps_variance"]["column"].to_list() == ["colour", "size"]
    assert tables["category_maps_variance"]["fewest_rows"].to_list() == [1, 2]
    assert tables["category_maps"].filter(column="size")["category"].to_list() == ["S", "M", "L"]
    first, second = findings.figures["category_maps"].axes
    assert first.get_title(loc="left") == "colour: 4 categories, 2 with few rows"
    assert {text.get_text() for text in first.texts} == set(COLOURS)
    assert (is_ordered(data, "colour"), is_ordered(data, "size")) == (False, True)
    assert second.get_title(loc="left") == "size: 3 categories"


def test_missing_values_are_a_category_where_training_has_met_them() -> None:
    model, data = colours()
    data.parts["train"][0][0, 0] = 0
    table, _ = category_map(model, data, "colour")
    assert table["category"].to_list() == ["$_[grün]", "blue", "green", "red", "missing"]
    assert table["rows"].to_list() == [1, 1, 2, 2, 1]


def test_an_embedding_of_one_number_lies_on_a_line() -> None:
    model, data = colours()
    model.embeddings[0] = torch.nn.Embedding(5, 1)
    give(model, 0, [[1.0], [2.0], [3.0], [6.0]])
    table, shares = category_map(model, data, "colour")
    assert table["axis_1"].to_list() == pytest.approx([-2, -1, 0, 3])
    assert table["axis_2"].to_list() == [0.0] * 4
    assert shares == pytest.approx((1, 0))


def test_where_no_column_has_three_categories_there_is_nothing_to_see() -> None:
    with pytest.raises(UserError, match="no categorical column has 3 categories"):
        category_maps(*colours("flag"))
