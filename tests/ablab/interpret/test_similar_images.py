"""Pictures that are alike: neighbours against scikit-learn."""

import pytest
import torch

from ablab.errors import UserError
from ablab.interpret.layers.activations import activations
from ablab.interpret.pictures.similar_images import (
    nearest,
    similar_images,
)
from tests.ablab.interpret.small_pictures import SmallPictures, network, small_pictures


def test_neighbours_are_those_of_brute_force() -> None:
    torch.manual_seed(0)
    queries, rows = torch.randn(1100, 5), torch.randn(40, 5)  # over one block of queries
    distances, neighbours = nearest(queries, rows, 7)
    from sklearn.neighbors import NearestNeighbors  # as in test_pca

    reference = NearestNeighbors(n_neighbors=7, algorithm="brute").fit(rows.numpy())
    expected_distances, expected = reference.kneighbors(queries.numpy())
    assert neighbours.tolist() == expected.tolist()
    torch.testing.assert_close(distances, torch.from_numpy(expected_distances).float())


def test_there_are_no_more_neighbours_than_rows() -> None:
    distances, neighbours = nearest(torch.zeros(2, 1), torch.tensor([[3.0], [1.0]]), 9)
    assert neighbours.tolist() == [[1, 0], [1, 0]]
    assert distances.tolist() == [[1, 3], [1, 3]]


def test_all_components_find_what_the_activations_find() -> None:
    model, data = network(), small_pictures()
    train, test = (activations(model, data, part) for part in ("train", "test"))
    distances, neighbours = nearest(test, train, 4)
    table = similar_images(model, data, components=6, top=4).tables["similar_images"]
    assert table["image"].unique(maintain_order=True).to_list() == [
        "test/0.png",  # the first of each class
        "test/1.png",
        "test/2.png",
    ]
    assert table["neighbour"].to_list() == [f"train/{i}.png" for i in neighbours[:3].flatten()]
    assert table["distance"].to_list() == pytest.approx(distances[:3].flatten().tolist(), rel=1e-3)


def test_ranks_say_how_often_a_neighbour_is_of_the_class() -> None:
    """Training pictures 0, 1, 2 and 10 with labels a, a, b, b; test pictures 0 (a) and 9 (b)."""
    train = torch.tensor([0.0, 1, 2, 10])[:, None] * torch.ones(4), torch.tensor([0, 0, 1, 1])
    test = torch.tensor([0.0, 9])[:, None] * torch.ones(4), torch.tensor([0, 1])
    data = SmallPictures(train, test, ["a", "b"])
    model = network(2)
    with torch.no_grad():  # hidden units hold the pixels
        model.lin1.weight.copy_(torch.eye(6)[:, :4])
        model.lin1.bias.zero_()
    ranks = similar_images(model, data, components=1, top=20).tables["similar_images_ranks"]
    assert ranks["same_class_share"].to_list() == [1, 1, 0, 0]
    distances = [(0 + 1) / 2, (1 + 7) / 2, (2 + 8) / 2, (10 + 9) / 2]
    assert ranks["mean_distance"].to_list() == pytest.approx([2 * d for d in distances], rel=1e-4)


def test_pictures_are_asked_for_by_name_and_by_number() -> None:
    model, data = network(), small_pictures()
    findings = similar_images(model, data, images=["test/20.png", 3, "5"], top=2)
    shown = findings.tables["similar_images"]["image"].unique(maintain_order=True).to_list()
    assert shown == ["test/20.png", "test/3.png", "test/5.png"]
    assert len(findings.figures["similar_images"].axes) == 9


@pytest.mark.parametrize("image", ["test/21.png", "21", -1])
def test_a_picture_that_is_not_there_is_told(image: str | int) -> None:
    with pytest.raises(UserError, match=rf"no test picture '{image}'.* there are 21, by number"):
        similar_images(network(), small_pictures(), images=[image])


def test_of_many_classes_ten_are_shown() -> None:
    data = small_pictures(classes=[f"class {i}" for i in range(15)])
    table = similar_images(network(15), data, top=1).tables["similar_images"]
    assert table["label"].to_list() == [f"class {i}" for i in range(10)]
