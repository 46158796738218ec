"""Names in a scatter plot: where they are, and that none covers another or a point."""

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from ablab.figures import styled
from ablab.interpret.labelled_scatter import label_points

RANDOM = np.random.default_rng(0)
AWKWARD = {
    "a dense cloud": RANDOM.normal(0, 1, (50, 2)),
    "all in one place": np.zeros((12, 2)),
    "a line": np.stack([np.linspace(0, 1, 40), np.zeros(40)], axis=1),
    "corners": np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 3, float),
}
NAME = "Cost of $5_000, The [Amélie's \N{SNOWMAN}] (1994)"


@styled()
def labelled(points: np.ndarray, names: list[str]) -> tuple[Axes, list[Text]]:
    figure = Figure(figsize=(5, 5), dpi=100, layout="constrained")
    axes = figure.subplots()
    axes.scatter(*points.T)
    return axes, label_points(axes, points, names)


def boxes(axes: Axes) -> list[Bbox]:
    """As they are drawn, after the layout has had its chance to move them."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    with matplotlib.rc_context({"text.parse_math": False}):
        figure.draw_without_rendering()
    return [text.get_window_extent() for text in axes.texts]


@pytest.mark.parametrize("points", AWKWARD.values(), ids=AWKWARD)
def test_no_name_covers_another_or_a_point_or_leaves_the_axes(points: np.ndarray) -> None:
    axes, written = labelled(points, [f"{k} {NAME}" for k in range(len(points))])
    drawn = boxes(axes)
    assert len(drawn) == len(written) >= 1
    inside = axes.get_window_extent()
    for index, box in enumerate(drawn):
        assert not any(box.overlaps(other) for other in drawn[:index])
        assert inside.x0 <= box.x0 < box.x1 <= inside.x1
        assert inside.y0 <= box.y0 < box.y1 <= inside.y1
        assert not any(box.contains(*place) for place in axes.transData.transform(points))


def test_names_are_written_as_they_are_and_the_first_ones_come_first() -> None:
    _, written = labelled(np.zeros((60, 2)), [f"{k} {NAME}" for k in range(60)])
    assert written[0].get_text() == f"0 {NAME}"
    assert not written[0].get_parse_math()
    assert len(written) < 60  # the others have no room


def test_a_name_with_room_is_right_of_its_point_and_touches_nothing() -> None:
    points = np.array([[0.2, 0.2], [0.2, 0.8]])
    axes, written = labelled(points, ["one", "two"])
    assert [text.get_text() for text in written] == ["one", "two"]
    assert len(axes.lines) == 0  # so near needs no line
    for box, (x, y) in zip(boxes(axes), axes.transData.transform(points), strict=True):
        assert 0 < box.x0 - x < 8
        assert (box.y0 + box.y1) / 2 == pytest.approx(y, abs=1)


def test_the_same_points_have_their_names_in_the_same_places() -> None:
    first, second = (labelled(AWKWARD["a dense cloud"], [NAME] * 50)[1] for _ in range(2))
    assert [text.get_position() for text in first] == [text.get_position() for text in second]


def test_points_without_names_are_not_covered_and_no_points_are_no_fault() -> None:
    points = np.array([[0.0, 0.0], [0.4, 0.0], [1.0, 1.0]])
    axes, written = labelled(points, ["a name that would reach the second point"])
    assert len(written) == 1
    assert not boxes(axes)[0].contains(*axes.transData.transform(points[1]))
    assert labelled(np.zeros((0, 2)), [])[1] == []
