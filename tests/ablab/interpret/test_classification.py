"""What a classifier gets wrong: counts, losses and maps against references, and odd data."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from ablab.errors import UserError
from ablab.interpret.layers.pca import PCA
from ablab.interpret.pictures.activation_map import activation_map
from ablab.interpret.pictures.classification import classification
from ablab.interpret.pictures.confusion_matrix import confusion_counts, confusion_matrix
from ablab.interpret.pictures.outcomes import outcomes
from ablab.interpret.pictures.top_losses import top_losses
from tests.ablab.interpret.small_pictures import always, network, small_pictures


def test_counts_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import confusion_matrix as reference  # as in test_pca

    random = np.random.default_rng(0)
    labels, predictions = random.integers(5, size=(2, 200))
    labels[labels == 3] = 0  # a class that no row has
    counts = confusion_counts(labels, predictions, 5)
    assert counts.tolist() == reference(labels, predictions, labels=range(5)).tolist()


def test_pairs_have_their_share_of_the_label() -> None:
    model, data = network(), small_pictures()
    table = confusion_matrix(model, data).tables["confusion_matrix"]
    assert table["rows"].sum() == 21
    assert table.group_by("label").agg(pl.sum("share_of_label"))[
        "share_of_label"
    ].to_list() == pytest.approx([1, 1, 1])
    right = table.filter(table["label"] == table["prediction"])["rows"].sum()
    assert right == pytest.approx(21 * outcomes(model, data).accuracy)


def test_the_most_confused_pairs_come_first_and_no_others() -> None:
    (extract,) = confusion_matrix(always(1), small_pictures()).extracts.values()
    assert extract.rows() == [("a", "b", 7, 1.0), ("c", "b", 7, 1.0)]


def test_losses_are_those_of_each_row_from_high_to_low() -> None:
    model, data = network(), small_pictures()
    pixels, labels = data.parts["test"]
    with torch.no_grad():
        logits = model(pixels)
    losses = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    table = top_losses(model, data).tables["top_losses"]
    assert table["loss"].to_list() == pytest.approx(sorted(losses.tolist(), reverse=True))
    row = int(losses.argmax())
    probabilities = logits.softmax(dim=1)[row]
    worst = table.row(0, named=True)
    assert (worst["image"], worst["label"]) == (f"test/{row}.png", "abc"[labels[row]])
    assert worst["prediction"] == "abc"[probabilities.argmax()]
    assert worst["probability"] == pytest.approx(float(probabilities.max()))
    assert worst["label_probability"] == pytest.approx(float(probabilities[labels[row]]))


def test_the_pictures_are_those_of_the_table() -> None:
    data = small_pictures()
    findings = top_losses(network(), data, top=5)
    places = [axes for axes in findings.figures["top_losses"].axes if axes.images]
    names = findings.tables["top_losses"]["image"].head(5).to_list()
    assert [axes.get_xlabel().splitlines()[-1] for axes in places] == names
    for axes, name in zip(places, names, strict=True):
        row = data.picture_names("test").index(name)
        shown = np.asarray(axes.images[0].get_array())
        assert shown.tolist() == data.pictures("test", [row])[0].tolist()


def test_the_map_has_the_coordinates_of_the_principal_components() -> None:
    model, data = network(), small_pictures()
    tables = activation_map(model, data, layer="lin1").tables
    with torch.no_grad():
        rows = model.lin1(data.parts["test"][0])
    expected = PCA.fit(rows, 3).transform(rows)
    found = tables["activation_map"].select("pc_1", "pc_2", "pc_3").to_torch()
    torch.testing.assert_close(found, expected)
    variance = tables["activation_map_variance"]
    assert variance["cumulative_share"].to_list()[-1] == pytest.approx(1)
    spread = float(expected[:, 0].var() / rows.var(dim=0).sum())
    assert variance["share_of_variance"][0] == pytest.approx(spread, rel=1e-4)


def test_names_are_shown_as_they_are(tmp_path: Path) -> None:
    classes = ["$5_{bill}$", "Ærø 猫", "a_very_long_name_of_a_breed_of_dogs", "d"]
    data = small_pictures(classes=classes)
    findings = classification(network(4), data, top=100)
    assert len(findings.write(tmp_path)) == 7
    ticks = [
        label.get_text() for label in findings.figures["confusion_matrix"].axes[0].get_xticklabels()
    ]
    assert ticks[:2] == classes[:2]
    assert classes[2].endswith(ticks[2].removeprefix("…"))


def test_one_row_is_enough() -> None:
    findings = classification(always(1), small_pictures(test=1))
    assert len(findings.tables["top_losses"]) == 1
    assert findings.tables["activation_map"]["pc_1"].to_list() == [0]


def test_a_model_that_is_no_classifier_is_refused() -> None:
    with pytest.raises(UserError, match=r"Net: its output for a row has shape \(1,\)"):
        outcomes(network(1), small_pictures())
