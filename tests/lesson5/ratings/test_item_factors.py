"""Principal axes and nearest neighbours of item factors, against numbers worked out by hand."""

import numpy as np
import pytest

from ablab.errors import UserError
from lesson5.ratings.interpret.item_factors import item_factors, principal_axes, similar_items
from tests.lesson5.ratings.small_ratings import TITLES, SmallRatings, five_items, model_of

DATA = five_items()
CROSS = [[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0], [0.0, 0.0]]


def test_axes_of_a_cross_are_its_arms() -> None:
    table, shares = principal_axes(model_of(DATA, items=CROSS), DATA, min_ratings=1)
    assert shares == pytest.approx([0.9, 0.1])  # variances 18 and 2
    assert table["title"].to_list() == list(TITLES)  # most rated first
    assert table["ratings"].to_list() == [6, 5, 4, 3, 2]
    assert table["axis_1"].to_list() == pytest.approx([3, -3, 0, 0, 0])
    assert table["axis_2"].to_list() == pytest.approx([0, 0, 1, -1, 0])


def test_the_positive_end_of_an_axis_is_that_of_higher_mean_ratings() -> None:
    rows = [(u, item, 5.0 - item) for item in range(3) for u in range(3)]
    data = SmallRatings([*rows, (0, 0, 3.0)], n_test=1)
    for sign in (1, -1):
        model = model_of(data, items=[[1.0 * sign, 0.0], [0.0, 0.0], [-1.0 * sign, 0.0]])
        table, _ = principal_axes(model, data, min_ratings=1)
        assert table["axis_1"].to_list() == pytest.approx([1, 0, -1])


def test_ends_of_the_axes_are_shown_by_title() -> None:
    findings = item_factors(model_of(DATA, items=CROSS), DATA, top=1, min_ratings=2)
    first, second = findings.extracts.values()
    assert first.row(0) == (TITLES[0], TITLES[1])
    assert second.row(0) == (TITLES[2], TITLES[3])
    assert "90.0%" in next(iter(findings.extracts))
    assert findings.tables["item_factors_variance"].rows() == [
        (1, pytest.approx(0.9)),
        (2, pytest.approx(0.1)),
    ]
    named = {text.get_text() for text in findings.figures["item_factors"].axes[0].texts}
    assert TITLES[2] in named


def test_rarely_rated_items_are_left_out() -> None:
    table, _ = principal_axes(model_of(DATA, items=CROSS), DATA, min_ratings=4)
    assert table["title"].to_list() == list(TITLES[:3])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_ratings": 7}, "no item has 7 training ratings, and the most rated one has 6"),
        ({"min_ratings": 1, "y_axis": 3}, "there is no axis 3; the 5 items .* have 2"),
        ({"min_ratings": 6}, "there is no axis 2; the 1 items .* have 1"),  # one item
    ],
)
def test_too_few_items_and_axes_are_an_error(settings: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        item_factors(model_of(DATA, items=CROSS), DATA, **settings)


def test_similar_items_are_those_of_the_largest_cosine() -> None:
    factors = [[1.0, 0.0], [2.0, 2.0], [-1.0, 0.1], [0.0, 3.0], [5.0, 0.5]]
    findings = similar_items(
        model_of(DATA, items=factors), DATA, item="Alien (1979)", min_ratings=2
    )
    table = findings.tables["similar_items"]
    rows = np.array(factors)
    cosine = rows @ rows[0] / np.linalg.norm(rows, axis=1)
    order = [4, 1, 3, 2]
    assert table["title"].to_list() == [TITLES[k] for k in order]
    assert table["cosine"].to_list() == pytest.approx(cosine[order], abs=1e-6)
    assert table["ratings"].to_list() == [2, 5, 3, 4]


def test_an_item_without_factors_has_cosine_0() -> None:
    findings = similar_items(model_of(DATA), DATA, item="Ran", min_ratings=1, top=50)
    assert findings.tables["similar_items"]["cosine"].to_list() == [0.0] * 4


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (None, "no item is given"),
        ("alie", r"may be 'Alien \(1979\)' \(id 0\), 'Aliens \(1986\)' \(id 1\); give more"),
        ("Amelie", r"no title of the 5 in training contains it; did you mean 'Amélie \(2001\)'"),
        ("Brazil", "no title of the 5 in training contains it$"),
        (" ", "is empty"),
    ],
)
def test_an_item_that_is_missing_or_not_the_only_one_is_an_error(
    item: str | None, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        similar_items(model_of(DATA, items=CROSS), DATA, item=item, min_ratings=1)


@pytest.mark.parametrize("item", ["$5_000", "amélie", "alien", "RAN", "4", " Ran "])
def test_an_item_is_found_by_part_of_its_title_or_by_its_id(item: str) -> None:
    findings = similar_items(model_of(DATA, items=CROSS), DATA, item=item, min_ratings=1)
    assert len(findings.tables["similar_items"]) == 4
