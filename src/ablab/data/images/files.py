"""Image files: found, decoded once, and kept as uint8 for the runs to come."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ablab.data.files.arrays import read_array
from ablab.errors import DataError
from ablab.safety.atomic_files import atomic_write

IMAGE_FILES = {".jpg", ".jpeg", ".png", ".webp", ".gif"}
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF")


def decoded(files: list[Path], size: int, cache: Path, *, root: Path) -> NDArray[np.uint8]:
    """Every image as uint8 (N, 3, size, size): shorter side resized to ``size``, centre cut out.

    Kept in ``cache`` under a digest of the files' names, sizes and times, and read from there.

    Raises:
        DataError: a file cannot be decoded, there is no room in memory, or no cache can be written.
    """
    from ablab.terminal import say

    needed = 3 * size * size * len(files)
    available = _available_memory()
    if needed > available:
        raise DataError(
            f"{len(files):,} images of {size} px need {needed / 2**30:.1f} GiB of memory, "
            f"{available / 2**30:.1f} can be had; set a smaller data.size"
        )
    path = cache / f"{_digest(files, size, root)}.npy"
    images = _read_cache(path, (len(files), 3, size, size))
    if images is not None:
        return images
    say(f"decoding {len(files):,} images to {size} px, once")
    images = np.empty((len(files), 3, size, size), dtype=np.uint8)
    for index, file in enumerate(files):
        images[index] = _decode(file, size)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            np.save(file, images, allow_pickle=False)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be written ({error.strerror}); choose another folder with paths.data=…"
        ) from error
    return images


def _decode(file: Path, size: int) -> NDArray[np.uint8]:
    from PIL import Image, ImageOps
    from torchvision.transforms.v2 import functional

    try:
        # by its content alone, Pillow would hand a file to Ghostscript (EPS), whatever its name
        with Image.open(file, formats=_FORMATS) as opened:
            image = ImageOps.exif_transpose(opened).convert("RGB")
    except Exception as error:  # decoders raise whatever they come upon in a damaged file
        raise DataError(f"{file}: is not an image that can be decoded ({error})") from error
    pixels = functional.resize(functional.pil_to_tensor(image), [size], antialias=True)
    return functional.center_crop(pixels, [size]).numpy()


def list_images(folder: Path) -> list[Path]:
    """Image files in the folders of ``folder``, sorted; hidden ones and other files left out."""
    return sorted(
        file
        for sub in sorted(folder.iterdir())
        if sub.is_dir() and not sub.name.startswith(".")
        for file in sub.iterdir()
        if file.suffix.lower() in IMAGE_FILES and not file.name.startswith(".")
    )


def _digest(files: list[Path], size: int, root: Path) -> str:
    listed = [
        (str(file.relative_to(root)), file.stat().st_size, file.stat().st_mtime_ns)
        for file in files
    ]
    return hashlib.sha256(json.dumps([size, listed]).encode()).hexdigest()[:32]


def _read_cache(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
    images = read_array(path)
    if images is None:
        return None
    return images if images.shape == shape and images.dtype == np.uint8 else None


def _available_memory() -> int:
    """Bytes: a third of what the machine has, since the parts of a split are copies."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 3
