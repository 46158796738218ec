"""Tables: what is fitted on training rows, what is missing or unknown, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from ablab.data.splits import Indices, split_rows
from ablab.data.tables.column_encoder import ColumnEncoder
from ablab.data.tables.module import TableDataModule, regression_errors
from ablab.data.tables.own_file import Table
from ablab.errors import DataError

TRAIN = pl.DataFrame(
    {
        "colour": ["red", "blue", None, "red"],
        "size": [1.0, 3.0, None, 5.0],
        "weight": [10, 20, 30, 40],
    }
)


def encoder() -> ColumnEncoder:
    return ColumnEncoder.fit(TRAIN, ["colour"], ["size", "weight"])


# -- the encoding ----------------------------------------------------------------------------------


def test_categories_numbers_and_flags_of_the_training_rows() -> None:
    categories, continuous = encoder().encode(TRAIN)
    assert encoder().categorical_names == ["colour", "size missing"]
    assert encoder().n_categories == [3, 3]
    assert categories.tolist() == [[2, 1], [1, 1], [0, 2], [2, 1]]
    size = (np.array([1, 3, 3, 5]) - 3) / np.std([1, 3, 5])  # the mean stands for what is missing
    np.testing.assert_allclose(continuous[:, 0], size, rtol=1e-6)
    np.testing.assert_allclose(continuous[:, 1].std(), 1, rtol=1e-6)


def test_other_rows_change_nothing_that_was_fitted() -> None:
    other = pl.DataFrame(
        {"colour": ["green", "blue"], "size": [1e6, None], "weight": [None, -1e6]},
        schema=TRAIN.schema,
        strict=False,
    )
    categories, continuous = encoder().encode(other)
    assert categories.tolist() == [[0, 1], [1, 2]]
    assert continuous[1, 0] == continuous[0, 1] == 0  # weight is never missing in training: no flag
    assert continuous[0, 0] == pytest.approx((1e6 - 3) / np.std([1, 3, 5]))


def test_nan_is_missing_in_either_kind_of_column() -> None:
    table = pl.DataFrame({"a": [1.0, float("nan"), 2.0], "b": [1.0, float("nan"), 2.0]})
    categories, continuous = ColumnEncoder.fit(table, ["a"], ["b"]).encode(table)
    assert categories.tolist() == [[1, 1], [0, 2], [2, 1]]
    assert continuous[1, 0] == 0


class Drawn(TableDataModule):
    """A table of 300 drawn rows; ``warmth`` is missing in some, ``place`` in one."""

    target = "count"

    def load_table(self) -> tuple[pl.DataFrame, str]:
        random = np.random.default_rng(0)
        hour, holiday, place = (random.integers(n, size=300) for n in (24, 2, 5))
        warmth = [None if i % 10 == 0 else 15.0 + i % 7 for i in range(300)]
        places = ["north", "south", "east", "west", "centre"]
        table = {
            "hour": hour,
            "holiday": holiday.astype(bool),
            "place": [None, *(places[i] for i in place[1:])],
            "warmth": warmth,
            "count": hour + 10.0 * place,
        }
        return pl.DataFrame(table), "drawn"

    def split_rows(self, table: pl.DataFrame) -> dict[str, Indices]:
        return split_rows(len(table), test_fraction=0.2, validation_fraction=0.1, seed=0)

    def column_kinds(self, train: pl.DataFrame) -> tuple[list[str], list[str]]:
        return ["hour", "holiday", "place"], ["warmth"]

    def title(self) -> str:
        return "drawn rows"


def drawn() -> Drawn:
    data = Drawn()
    data.setup("fit")
    return data


def test_batches_have_the_shapes_and_types_that_models_take() -> None:
    data = drawn()
    categories, continuous, target = next(iter(data.train_dataloader()))
    assert (categories.shape, continuous.shape, target.shape) == ((64, 4), (64, 1), (64,))
    assert (categories.dtype, continuous.dtype) == (torch.int64, torch.float32)
    assert data.sizes["n_continuous"] == 1
    for part in data.parts.values():
        assert (part[0] < torch.tensor(data.sizes["n_categories"])).all()
        assert all(t.isfinite().all() for t in part)


def test_statistics_are_of_the_training_rows_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    before = drawn()
    table, source = before.load_table()
    rows = np.concatenate([before.rows["val"], before.rows["test"]])
    held_out = np.zeros(len(table), dtype=bool)
    held_out[rows] = True
    changed = table.with_columns(
        pl.when(pl.lit(held_out)).then(1e9).otherwise("warmth").alias("warmth"),
        pl.when(pl.lit(held_out)).then(pl.lit("nowhere")).otherwise("place").alias("place"),
        pl.when(pl.lit(held_out)).then(7e3).otherwise("count").alias("count"),
    )
    monkeypatch.setattr(Drawn, "load_table", lambda self: (changed, source))
    after = drawn()
    assert after.encoder.continuous == before.encoder.continuous
    assert after.sizes == before.sizes
    for old, new in zip(before.parts["train"], after.parts["train"], strict=True):
        assert torch.equal(old, new)
    assert (after.parts["test"][0][:, 2] == 0).all()


def test_which_unknown_value_it_is_makes_no_difference() -> None:
    data = drawn()
    row = data.table[:1].with_columns(pl.lit("A").alias("place"))
    nowhere, *others = (
        data.encoder.encode(row.with_columns(pl.lit(place, pl.String).alias("place")))
        for place in ("nowhere", "elsewhere", None)
    )
    for other in others:
        assert all(np.array_equal(one, two) for one, two in zip(nowhere, other, strict=True))


# -- splits, errors and baselines ------------------------------------------------------------------


def test_errors_are_the_formulas() -> None:
    errors = regression_errors(np.array([1.0, 3.0]), np.array([3.0, 3.0]))
    assert errors == {
        "rmse": pytest.approx(2**0.5),
        "mae": 1.0,
        "rmsle": pytest.approx(np.log(2) / 2**0.5),
    }
    assert "rmsle" not in regression_errors(np.array([-2.0]), np.array([1.0]))


def test_group_means_are_of_training_rows_and_fall_back_on_the_mean() -> None:
    data = drawn()
    train, test = data.table[data.rows["train"]], data.table[data.rows["test"]]
    overall = float(np.mean(train["count"].to_numpy()))
    means: dict[tuple[Any, ...], list[float]] = {}
    for hour, holiday, value in train.select("hour", "holiday", "count").iter_rows():
        means.setdefault((hour, holiday), []).append(value)
    predicted = [
        float(np.mean(means[key])) if (key := (hour, holiday)) in means else overall
        for hour, holiday in test.select("hour", "holiday").iter_rows()
    ]
    expected = regression_errors(np.array(predicted), test["count"].to_numpy())
    assert data.group_mean(["hour", "holiday"]) == pytest.approx(expected)


# -- a table of one's own --------------------------------------------------------------------------

GOOD = "shop,open,temp,y\n" + "".join(f"s{i % 3},{i % 2},{i * 0.5},{i}\n" for i in range(20))


def table(path: Path, **changes: Any) -> Table:
    arguments = {"path": str(path), "target": "y", "split": "random", "test_fraction": 0.2}
    data = Table(**{**arguments, "validation_fraction": 0.0, **changes})
    data.configure(batch_size=4, split_seed=0)
    data.setup("fit")
    return data


def test_kinds_of_columns_are_told_by_their_values(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(GOOD)
    data = table(path)
    assert data.encoder.categorical_names == ["shop", "open"]
    assert list(data.encoder.continuous) == ["temp"]
    assert list(table(path, max_categories=1).encoder.continuous) == ["open", "temp"]
    assert list(table(path, continuous=["open"]).encoder.continuous) == ["open"]
    assert table(path, exclude=["shop"]).encoder.categorical_names == ["open"]
    assert data.test_table()["y"] == [float(v) for v in data.parts["test"][-1]]


def test_parquet_gives_the_same_batches_as_csv(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(GOOD)
    pl.read_csv(tmp_path / "a.csv").write_parquet(tmp_path / "a.parquet")
    pair = (table(tmp_path / name, split="last") for name in ("a.csv", "a.parquet"))
    for a, b in zip(*(data.parts["test"] for data in pair), strict=True):
        assert torch.equal(a, b)


def edited(old: str, new: str) -> bytes:
    assert old in GOOD
    return GOOD.replace(old, new).encode()


@pytest.mark.parametrize(
    ("name", "content", "arguments", "told"),
    [
        ("a.csv", None, {}, "data.path: no file"),
        ("a.csv", b"", {}, "is empty"),
        ("a.csv", b"shop,y\n", {}, "has no rows"),
        ("a.txt", GOOD.encode(), {}, "neither a .csv nor a .parquet"),
        ("a.parquet", b"PAR1, or not", {}, "cannot be read"),
        ("a.csv", edited("s1", "Zürich").decode().encode("latin-1"), {}, "is not UTF-8"),
        ("a.csv", GOOD.encode("utf-16"), {}, "is not UTF-8"),
        ("a.csv", edited("s0,0,0.0,0\n", "s0,0,0.0,0,9,9\n"), {}, "a row has more values"),
        ("a.csv", edited("0.5,1\n", '"0.5,1\n'), {}, "cannot be read"),
        ("a.csv", GOOD.encode(), {"separator": ";;"}, "data.separator"),
        ("a.csv", GOOD.encode(), {"separator": ";"}, "data.target: a.csv has no column 'y'"),
        ("a.csv", GOOD.encode(), {"target": "yy"}, "no column 'yy'; did you mean 'y'"),
        ("a.csv", GOOD.encode(), {"exclude": ["shp"]}, "data.exclude: .*did you mean 'shop'"),
        ("a.csv", GOOD.encode(), {"categorical": ["y"]}, "data.categorical: 'y' is the target"),
        ("a.csv", GOOD.encode(), {"continuous": ["shop"]}, "'shop': of type String"),
        (
            "a.csv",
            GOOD.encode(),
            {"target": "shop", "target_kind": "number"},
            "target is to be a number",
        ),
        (
            "a.csv",
            GOOD.encode(),
            {"categorical": ["open"], "continuous": ["open"]},
            "is in data.categorical as well",
        ),
        (
            "a.csv",
            GOOD.encode(),
            {"exclude": ["shop", "open", "temp"]},
            "no column but the target",
        ),
        ("a.csv", edited("0.5,1\n", "0.5,nan\n"), {}, "target of row 2 is nan; 1 of 20"),
        ("a.csv", edited("0.5,1\n", "0.5,\n"), {}, "target of row 2 is nan; 1 of 20"),
        ("a.csv", edited("0.5,1\n", "0.5,-inf\n"), {}, "target of row 2 is -inf"),
        ("a.csv", edited("0.5,1\n", "0.5,one\n"), {}, "'y': most .* row 2 has 'one'"),
        ("a.csv", edited("0.5,1\n", "inf,1\n"), {"split": "last"}, "1 of 16 values are infinite"),
        ("a.csv", edited("s1", "s0").replace(b"s2", b"s0"), {}, "'shop': is s0 in all 16"),
        ("a.csv", "".join(f"k{i},3\n" for i in range(9)).encode(), {"target": "3"}, "is the same"),
        ("a.csv", GOOD.encode(), {"test_fraction": 0.0}, "no training or no test rows"),
        (
            "a.csv",
            ("id,y\n" + "".join(f"k{i},{i}\n" for i in range(20))).encode(),
            {},
            "'id': is different in every training row",
        ),
    ],
)
def test_a_table_that_cannot_be_learned_from_is_refused(
    tmp_path: Path, name: str, content: bytes | None, arguments: dict[str, Any], told: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=told):
        table(tmp_path / name, **arguments)


# -- tables as other programs write them -----------------------------------------------------------


def areas(n: int = 60) -> list[float]:
    """Areas with two decimals, all different, in no order."""
    return [round(20 + (37 * i % 101) * 1.07, 2) for i in range(n)]


def flats(
    path: Path, line: str = "{area},{rent}", header: str = "area,rent", end: str = ""
) -> Path:
    """A table of rents, with ``line`` for each flat and ``end`` after the last one."""
    rows = [
        line.format(n=n, area=area, rent=round(8 * area), german=f"{area:.2f}".replace(".", ","))
        for n, area in enumerate(areas())
    ]
    path.write_bytes("\n".join([header, *rows, end]).encode())
    return path


def inputs(path: Path, **changes: Any) -> tuple[list[str], list[str]]:
    """The categorical and the continuous columns that a table is read as."""
    encoder = table(path, target="rent", split="last", test_fraction=0.05, **changes).encoder
    return encoder.categorical_names, list(encoder.continuous)


@pytest.mark.parametrize("word", ["", "NULL", "N/A", "None", "?", "null", "#N/A", "<NA>", "  "])
def test_the_usual_words_for_a_missing_number_leave_a_column_of_numbers(
    tmp_path: Path, word: str
) -> None:
    path = flats(tmp_path / "a.csv", header=f"area,rent\n{word},150")
    assert inputs(path) == (["area missing"], ["area"])


def test_a_word_of_ones_own_may_stand_for_a_missing_number(tmp_path: Path) -> None:
    path = flats(tmp_path / "a.csv", header="area,rent\nunknown,150\n,150")
    assert inputs(path, missing=["unknown"]) == (["area missing"], ["area"])


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ("-", r"set data\.missing=\['-'\]"),
        ("unknown", r"set data\.missing=\['unknown'\]"),
        ("#DIV/0!", r"set data\.missing=\['#DIV/0!'\]"),
        ('"12,5"', r"set data\.decimal=comma"),
        ('"1,200"', "separators of thousands"),
        ("12 %", "write the number alone"),
    ],
)
def test_a_word_among_numbers_is_named_with_its_row(tmp_path: Path, cell: str, told: str) -> None:
    path = flats(tmp_path / "a.csv", header="area,rent\n9.0,72\n" + cell + ",150")
    shown = cell.replace('"', "")
    with pytest.raises(DataError, match=f"column 'area': .* row 2 has '{shown}'.*{told}"):
        inputs(path)


def test_a_word_among_a_few_whole_numbers_is_a_category(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("rooms,rent\n" + "".join(f"{i % 3},{i}\n3+,{i + 50}\n" for i in range(40)))
    assert inputs(path) == (["rooms"], [])


def test_blanks_around_a_word_do_not_count(tmp_path: Path) -> None:
    path = flats(tmp_path / "a.csv", "{area},{rent}, north ", "area,rent,place\n9.0,72,south")
    data = table(path, target="rent", split="last")
    assert data.encoder.vocabularies["place"].to_list() == ["north", "south"]


@pytest.mark.parametrize(
    ("line", "header", "changes"),
    [
        ("{german};{rent}\r", "\ufeffsep=;\r\narea;rent\r", {"decimal": "comma"}),
        ("{german};{rent}\r", "\ufeffarea;rent\r", {"decimal": "comma", "separator": ";"}),
        ('"{german}","{rent}"', '"area","rent"', {"decimal": "comma"}),
        ("{area}\t{rent}", "area\trent", {"separator": "\t"}),
        ("{area}\t{rent}", "area\trent", {"separator": r"\t"}),
        ("{area},{rent},", "area,rent,", {}),
        (" {area}, {rent}", " area, rent", {}),
    ],
)
def test_the_same_numbers_however_they_are_written(
    tmp_path: Path, line: str, header: str, changes: dict[str, Any]
) -> None:
    plain = table(flats(tmp_path / "plain.csv"), target="rent")
    other = table(flats(tmp_path / "other.csv", line, header), target="rent", **changes)
    for a, b in zip(plain.parts["train"], other.parts["train"], strict=True):
        assert torch.equal(a, b)


def test_lines_may_end_as_on_an_old_macintosh(tmp_path: Path) -> None:
    path = flats(tmp_path / "a.csv")
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r"))
    assert inputs(path) == ([], ["area"])


def test_another_separator_is_suggested(tmp_path: Path) -> None:
    for line in ("{area};{rent}", "{german};{rent}"):  # of the latter, each row has a comma
        path = flats(tmp_path / "a.csv", line, "area;rent")
        with pytest.raises(DataError, match=r"try 'data\.separator=\";\"'"):
            inputs(path)


def test_numbers_with_a_decimal_point_are_refused_beside_a_decimal_comma(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'area': .* set data\.decimal=point"):
        inputs(flats(tmp_path / "a.csv"), decimal="comma")


@pytest.mark.parametrize("header", ["area,rent,rent", "area,rent, rent"])
def test_two_columns_of_one_name_are_refused(tmp_path: Path, header: str) -> None:
    with pytest.raises(DataError, match="two columns are called 'rent'"):
        inputs(flats(tmp_path / "a.csv", "{area},{rent},{rent}", header))


def test_a_copy_of_the_target_under_another_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'price': is a copy of the target.*exclude=\[price\]"):
        inputs(flats(tmp_path / "a.csv", "{area},{rent},{rent}", "area,rent,price"))


@pytest.mark.parametrize("name", ["", "id", "__index_level_0__"])
def test_a_saved_index_is_refused_with_what_leaves_it_out(tmp_path: Path, name: str) -> None:
    path = flats(tmp_path / "a.csv", "{n},{area},{rent}", f"{name},area,rent")
    shown = name or "column_1"
    with pytest.raises(DataError, match=rf"'{shown}': numbers the rows.*exclude=\[{shown}\]"):
        inputs(path)
    assert inputs(path, exclude=[shown]) == ([], ["area"])
    assert inputs(path, continuous=[shown, "area"]) == ([], [shown, "area"])


def test_an_index_of_shuffled_rows_or_with_gaps_is_refused(tmp_path: Path) -> None:
    shuffled = tmp_path / "shuffled.csv"
    lines = [f"{13 * i % 60}.0,{a},{8 * a}" for i, a in enumerate(areas())]
    shuffled.write_text("\n".join(["id,area,rent", *lines]))
    gaps = tmp_path / "gaps.csv"
    gaps.write_text(
        "\n".join(["id,area,rent", *(f"{n * n},{a},{8 * a}" for n, a in enumerate(areas()))])
    )
    for path in (shuffled, gaps):
        with pytest.raises(DataError, match="'id': numbers the rows"):
            inputs(path)


def test_other_whole_numbers_that_are_all_different_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    lines = [f"{7919 * i % 10007},{a},{8 * a}" for i, a in enumerate(areas())]
    path.write_text("\n".join(["customer,area,rent", *lines]))
    data = table(path, target="rent")
    assert list(data.encoder.continuous) == ["customer", "area"]
    assert "column 'customer' is a different whole number in every row" in data.summary()
