"""Image files: found, decoded once and kept as uint8, or decoded each time they are read."""

import hashlib
import json
import os
import resource
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from ablab.data.memory import memory_groups
from ablab.errors import DataError
from ablab.safety.atomic_files import atomic_write

if TYPE_CHECKING:
    from PIL import Image

IMAGE_FILES = {".jpg", ".jpeg", ".png", ".webp", ".gif"}
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
_DECODING = 2  # to be raised when the same file gives other pixels, so that no old cache is read


def decoded(
    files: list[Path], size: int, cache: Path, *, root: Path
) -> NDArray[np.uint8] | list[Path]:
    """Every image as uint8 (N, 3, size, size): shorter side resized to ``size``, centre cut out.

    Kept in ``cache`` under a digest of the files' names, sizes and times, and read from there.
    Where there is no room in memory for all of them, ``files`` is returned.

    Raises:
        DataError: a file cannot be decoded, or no cache can be written.
    """
    from ablab.terminal import say

    needed = 3 * size * size * len(files)
    available = _available_memory()
    if needed > available:
        say(
            f"{len(files):,} images of {size} px need {needed / 2**30:.1f} GiB of memory, and "
            f"{available / 2**30:.1f} can be had: they are decoded in each epoch, by "
            f"loading.workers processes"
        )
        return files
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


class ImageFiles(Dataset[tuple[Tensor, int]]):
    """Images that are decoded each time that they are read: (uint8 (3, size, size), label)."""

    def __init__(self, files: list[Path], labels: Tensor, size: int) -> None:
        self.files, self.labels, self.size = files, labels, size

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        pixels = torch.from_numpy(_decode(self.files[index], self.size))
        return pixels, int(self.labels[index])


def _decode(file: Path, size: int) -> NDArray[np.uint8]:
    from PIL import Image, ImageOps
    from torchvision.transforms.v2 import functional

    try:
        # by its content alone, Pillow would hand a file to Ghostscript (EPS), whatever its name
        with Image.open(file, formats=_FORMATS) as opened:
            image = _rgb(ImageOps.exif_transpose(opened))
    except Exception as error:  # decoders raise whatever they come upon in a damaged file
        raise DataError(f"{file}: is not an image that can be decoded ({error})") from error
    pixels = functional.resize(functional.pil_to_tensor(image), [size], antialias=True)
    return functional.center_crop(pixels, [size]).numpy()


def _rgb(image: "Image.Image") -> "Image.Image":
    """``image`` in 8 bits a channel, on white where it is transparent."""
    from PIL import Image

    if image.mode.startswith("I"):  # 16 bits of grey, which Pillow would cut off at 255
        image = Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8))
    if image.has_transparency_data:  # what is drawn may be in the transparency alone
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image.convert("RGB")


def list_images(folder: Path) -> tuple[list[Path], Counter[str]]:
    """Return the images in the class folders of ``folder``, sorted, and what was left out.

    That is the number of other files by what they are. Hidden files do not count.

    Raises:
        DataError: a class folder has no image, a link leads nowhere, or a folder cannot be read.
    """
    images: list[Path] = []
    left_out: Counter[str] = Counter()
    for entry in visible(folder):
        if not entry.is_dir():
            left_out["outside of class folders"] += entry.suffix.lower() in IMAGE_FILES
            continue
        own, others = [], Counter[str]()
        for file in visible(entry):
            if file.is_dir():
                deeper = (name for _, _, names in os.walk(file) for name in names)
                others["in deeper folders"] += sum(not name.startswith(".") for name in deeper)
            elif file.suffix.lower() not in IMAGE_FILES:
                others[f"named {file.suffix}" if file.suffix else "without an ending"] += 1
            elif not file.is_file():
                raise DataError(f"{file}: is not a regular file; remove it")
            else:
                own.append(file)
        if not own:
            raise DataError(
                f"{entry}: is a class folder without an image; add some or remove it"
                f"{described(others, '; in it: ')}"
            )
        images += own
        left_out += others
    return sorted(images), left_out


def visible(folder: Path) -> list[Path]:
    """Return what is in ``folder``, sorted, without hidden files.

    Raises:
        DataError: a link in it leads nowhere, or it cannot be read.
    """
    try:
        entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror})") from error
    for entry in entries:
        if entry.is_symlink() and not entry.exists():
            raise DataError(f"{entry}: is a link that leads nowhere; repair or remove it")
    return entries


def described(left_out: Counter[str], before: str) -> str:
    """Say what was left out, after ``before``; nothing where nothing was."""
    counts = [f"{number:,} {what}" for what, number in left_out.items() if number]
    if not counts:
        return ""
    return f"{before}{', '.join(counts)} (images are {', '.join(sorted(IMAGE_FILES))})"


def _digest(files: list[Path], size: int, root: Path) -> str:
    listed = [
        (str(file.relative_to(root)), file.stat().st_size, file.stat().st_mtime_ns)
        for file in files
    ]
    return hashlib.sha256(json.dumps([_DECODING, size, listed]).encode()).hexdigest()[:32]


def _read_cache(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
    """Return the pictures of a cache, or None if it is missing, damaged or of another shape."""
    try:
        with path.open("rb") as file:
            images = np.lib.format.read_array(file, allow_pickle=False)
    except Exception:  # The header is Python code, and a damaged one raises any of its errors.
        return None
    return images if images.shape == shape and images.dtype == np.uint8 else None


def _available_memory() -> int:
    """Bytes: a third of what this process may have, since the parts of a split are copies."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    limits += [limit for limit in resource.getrlimit(resource.RLIMIT_AS)[:1] if limit > 0]
    for group in memory_groups():
        with suppress(OSError, ValueError):  # the last where it says "max"
            limits.append(int((group / "memory.max").read_text()))
    return min(limits) // 3
