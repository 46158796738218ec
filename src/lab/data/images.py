"""Images in memory: decoded once, kept as uint8, changed at random on the model's device."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lab.atomic import atomic_write
from lab.config.schema import Count, Fraction, Seed, Text
from lab.data.loader import TensorDataModule
from lab.data.ratings import hold_out
from lab.errors import DataError

IMAGE_FILES = {".jpg", ".jpeg", ".png", ".webp", ".gif"}


@dataclass(frozen=True)
class ImageTable:
    """Images uint8 (N, 3, S, S), labels int64 (N,), a name for each, and the split of the rows."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    names: list[str]
    classes: list[str]
    rows: dict[str, NDArray[np.int64]]


class ImageDataModule(TensorDataModule):
    """Batches are ``(images uint8 (B, 3, size, size), labels int64 (B,))``.

    Args:
        root: folder of the data.
        size: side of the squares in memory, in pixels.
        cache: folder for decoded images, so that later runs need not decode them.
        augmentation: torchvision v2 transforms by name, applied in their order to each training
            image; one that is None is left out.
        validation_fraction: share of the training images, drawn by ``split_seed``; 0 for none.
    """

    def __init__(
        self,
        root: Text,
        size: Count,
        cache: Text,
        augmentation: dict[str, Any] | None,
        validation_fraction: Fraction,
        batch_size: Count,
        eval_batch_size: Count,
        split_seed: Seed,
        order_seed: Seed,
    ) -> None:
        super().__init__(
            batch_size=batch_size, eval_batch_size=eval_batch_size, order_seed=order_seed
        )
        self.root = Path(root)
        self.size = size
        self.cache = Path(cache)
        self.transforms: list[nn.Module] = [t for t in (augmentation or {}).values() if t]
        self.validation_fraction = validation_fraction
        self.split_seed = split_seed

    def load_table(self) -> ImageTable:
        """The images, in the split to use; "test" and "train", and "val" where there is one."""
        raise NotImplementedError

    def title(self) -> str:
        return type(self).__name__

    def setup(self, stage: str) -> None:
        if self.parts:
            return
        table = self.load_table()
        for part, rows in table.rows.items():
            missing = set(range(len(table.classes))) - set(table.labels[rows].tolist())
            if part == "train" and missing:
                names = ", ".join(table.classes[i] for i in sorted(missing))
                raise DataError(f"{self.title()}: no training image of {names}")
            if len(rows) == 0:
                raise DataError(f"{self.title()}: the split leaves no images for {part}")
            self.parts[part] = (
                torch.from_numpy(table.images[rows]),
                torch.from_numpy(table.labels[rows]),
            )
        self.classes = table.classes
        test = table.rows["test"]
        self._test_columns: dict[str, Sequence[Any]] = {
            "image": [table.names[i] for i in test],
            "label": [table.classes[i] for i in table.labels[test]],
        }

    @property
    def sizes(self) -> dict[str, Any]:
        return {"n_classes": len(self.classes)}

    def summary(self) -> str:
        rows = ", ".join(f"{len(labels):,} {part}" for part, (_, labels) in self.parts.items())
        side = self.parts["train"][0].shape[-1]
        return f"{self.title()}: {rows} images of {len(self.classes)} classes, {side} px"

    def baselines(self) -> dict[str, dict[str, float]]:
        """The share of the class that is most frequent in training."""
        most = torch.bincount(self.parts["train"][1]).argmax()
        accuracy = (self.parts["test"][1] == most).float().mean().item()
        return {"most frequent class": {"accuracy": accuracy}}

    def augment(self, inputs: list[Tensor]) -> list[Tensor]:
        images, *rest = inputs
        if not self.transforms:
            return inputs
        changed = []
        for image in images:  # a transform draws once a call, so each image has a call of its own
            for transform in self.transforms:
                image = transform(image)
            changed.append(image)
        return [torch.stack(changed), *rest]

    def test_table(self) -> dict[str, Sequence[Any]]:
        return self._test_columns

    def class_names(self, n_classes: int) -> list[str]:
        return self.classes


class ImageFolder(ImageDataModule):
    """A folder for each class, below folders ``train``, ``val`` and ``test`` or without them.

    ``test`` is what is tested on; without it ``val`` is; without both ``test_fraction`` is drawn.
    Where there are all three, ``val`` is the validation part; otherwise ``validation_fraction`` of
    the training images is drawn. With ``validation_fraction`` 0 everything else is trained on.
    """

    def __init__(self, test_fraction: Fraction, **settings: Any) -> None:
        super().__init__(**settings)
        self.test_fraction = test_fraction

    def title(self) -> str:
        return str(self.root)

    def load_table(self) -> ImageTable:
        if not self.root.is_dir():
            raise DataError(f"data.root: {self.root}: no such folder")
        given = [p for p in ("train", "val", "test") if (self.root / p).is_dir()]
        if given and "train" not in given:
            raise DataError(f"{self.root}: has {' and '.join(given)}, but no folder train")
        parts = {name: _list_images(self.root / name) for name in given}
        parts = parts or {"all": _list_images(self.root)}
        classes = sorted({file.parent.name for files in parts.values() for file in files})
        if len(classes) < 2:
            found = f"only {classes[0]}" if classes else "none"
            raise DataError(f"{self.root}: needs a folder for each of two or more classes; {found}")
        files = [file for part in parts.values() for file in part]
        rows, start = {}, 0
        for name, listed in parts.items():
            rows[name] = np.arange(start, start + len(listed))
            start += len(listed)
        return ImageTable(
            decoded(files, self.size, self.cache, root=self.root),
            np.array([classes.index(file.parent.name) for file in files]),
            [str(file.relative_to(self.root)) for file in files],
            classes,
            self._split(rows),
        )

    def _split(self, given: dict[str, NDArray[np.int64]]) -> dict[str, NDArray[np.int64]]:
        if "all" in given:
            train, test = hold_out(given["all"], self.test_fraction, self.split_seed)
        else:
            train, test = given["train"], given.get("test", given.get("val"))
            if test is None:
                train, test = hold_out(train, self.test_fraction, self.split_seed)
        both = "val" in given and "test" in given
        if self.validation_fraction == 0:
            train = np.concatenate([train, given["val"]]) if both else train
            return {"train": train, "test": test}
        if both:
            return {"train": train, "val": given["val"], "test": test}
        train, val = hold_out(train, self.validation_fraction, self.split_seed)
        return {"train": train, "val": val, "test": test}


class Pets(ImageDataModule):
    """Oxford-IIIT Pets (Parkhi et al. 2012), 37 breeds, the official test part kept apart.

    ``root`` is where torchvision keeps the set, or downloads it to.
    """

    def title(self) -> str:
        return "Oxford-IIIT Pets"

    def load_table(self) -> ImageTable:
        from torchvision.datasets import OxfordIIITPet  # imported here: takes seconds

        try:
            official = [
                OxfordIIITPet(self.root, split=split, download=True)
                for split in ("trainval", "test")
            ]
        except (OSError, RuntimeError) as error:
            raise DataError(
                f"Oxford-IIIT Pets cannot be downloaded ({error}); put images.tar.gz and "
                f"annotations.tar.gz, unpacked, into {self.root / 'oxford-iiit-pet'}"
            ) from error
        files = [Path(file) for part in official for file in part._images]
        n_train, n_all = len(official[0]), len(files)
        train, rows = np.arange(n_train), {"test": np.arange(n_train, n_all)}
        if self.validation_fraction > 0:
            train, rows["val"] = hold_out(train, self.validation_fraction, self.split_seed)
        return ImageTable(
            decoded(files, self.size, self.cache, root=self.root),
            np.array([label for part in official for label in part._labels]),
            [file.name for file in files],
            list(official[0].classes),
            {"train": train, **rows},
        )


# -- decoding -------------------------------------------------------------------------------------


def decoded(files: list[Path], size: int, cache: Path, *, root: Path) -> NDArray[np.uint8]:
    """Every image as uint8 (N, 3, size, size): shorter side resized to ``size``, centre cut out.

    Kept in ``cache`` under a digest of the files' names, sizes and times, and read from there.

    Raises:
        DataError: a file cannot be decoded, there is no room in memory, or no cache can be written.
    """
    from lab.terminal import say

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
    images = np.stack([_decode(file, size) for file in files])
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
        with Image.open(file) as opened:
            image = ImageOps.exif_transpose(opened).convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{file}: is not an image that can be decoded ({error})") from error
    pixels = functional.resize(functional.pil_to_tensor(image), [size], antialias=True)
    return functional.center_crop(pixels, [size]).numpy()


def _list_images(folder: Path) -> list[Path]:
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
    try:
        images = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return images if images.shape == shape and images.dtype == np.uint8 else None


def _available_memory() -> int:
    """Bytes: half of what the machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
