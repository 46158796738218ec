"""Images of classes, in memory where they fit, changed at random on the model's device."""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ablab.config.schema import Count, Fraction, Text
from ablab.data.batches import Augment
from ablab.data.images.batch_transforms import BatchTransform
from ablab.data.images.files import ImageFiles, decoded, described, list_images, visible
from ablab.data.images.pictures import PictureDataModule
from ablab.data.splits import hold_out, with_validation
from ablab.errors import ConfigError, DataError


@dataclass(frozen=True)
class ImageTable:
    """Images uint8 (N, 3, S, S) or their files, labels int64 (N,), names, and the split of rows."""

    images: NDArray[np.uint8] | list[Path]
    labels: NDArray[np.int64]
    names: list[str]
    classes: list[str]
    rows: dict[str, NDArray[np.int64]]


class ImageDataModule(PictureDataModule):
    """Batches are ``(images uint8 (B, 3, size, size), labels int64 (B,))``.

    Args:
        root: folder of the data.
        size: side of the squares in memory, in pixels.
        cache: folder for decoded images, so that later runs need not decode them.
        augmentation: transforms by name, applied in their order to the training images on the
            model's device: a BatchTransform to the whole batch, any other, such as torchvision's
            v2 transforms, to one image after the other. One that is None is left out.
        validation_fraction: share of the training images, drawn by ``split_seed``; 0 for none.
    """

    eval_batch_size = 128

    def __init__(
        self,
        root: Text,
        size: Count,
        cache: Text,
        augmentation: dict[str, Any] | None,
        validation_fraction: Fraction,
    ) -> None:
        super().__init__()
        self.root = Path(root)
        self.size = size
        self.cache = Path(cache)
        for name, transform in (augmentation or {}).items():
            if transform is not None and not callable(transform):
                raise ConfigError(
                    f"data.augmentation.{name}: should be a transform with a _target_, or null "
                    f"(it is {transform!r})"
                )
        self.transforms: list[nn.Module] = [t for t in (augmentation or {}).values() if t]
        self.validation_fraction = validation_fraction

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
            labels = torch.from_numpy(table.labels[rows])
            if isinstance(table.images, list):
                self.parts[part] = ImageFiles([table.images[i] for i in rows], labels, self.size)
            else:
                self.parts[part] = torch.from_numpy(table.images[rows]), labels
        self.classes = table.classes
        self._names = {part: [table.names[i] for i in rows] for part, rows in table.rows.items()}

    @property
    def sizes(self) -> dict[str, Any]:
        return {"n_classes": len(self.classes)}

    def summary(self) -> str:
        rows = ", ".join(f"{len(self.labels(part)):,} {part}" for part in self.parts)
        side = self.pictures("train", [0]).shape[1]
        return f"{self.title()}: {rows} images of {len(self.classes)} classes, {side} px"

    def baselines(self) -> dict[str, dict[str, float]]:
        """The share of the class that is most frequent in training."""
        most = torch.bincount(self.labels("train")).argmax()
        accuracy = (self.labels("test") == most).float().mean().item()
        return {"most frequent class": {"accuracy": accuracy}}

    def augmentation(self) -> Augment | None:
        return self._augment if self.transforms else None

    def _augment(self, batch: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        images, labels = batch
        for of_batches, transforms in groupby(self.transforms, _is_of_batches):
            in_order = list(transforms)
            if of_batches:
                images = _changed(images, in_order)
            else:  # they draw once a call, so each image has a call of its own
                images = torch.stack([_changed(image, in_order) for image in images])
        return images, labels

    def test_table(self) -> dict[str, Sequence[Any]]:
        labels = self.labels("test")
        return {"image": self._names["test"], "label": [self.classes[i] for i in labels]}

    def labels(self, part: str) -> Tensor:
        rows = self.parts[part]
        return rows.labels if isinstance(rows, ImageFiles) else rows[-1]

    def pictures(self, part: str, rows: Sequence[int]) -> NDArray[Any]:
        of_part = self.parts[part]
        in_files = isinstance(of_part, ImageFiles)
        images = torch.stack([of_part[i][0] for i in rows]) if in_files else of_part[0][rows]
        return images.movedim(1, -1).numpy()

    def picture_names(self, part: str) -> list[str]:
        return self._names[part]

    def class_names(self, n_classes: int) -> list[str]:
        return self.classes


def _is_of_batches(transform: nn.Module) -> bool:
    return isinstance(transform, BatchTransform)


def _changed(images: Tensor, transforms: Sequence[nn.Module]) -> Tensor:
    return reduce(lambda changed, transform: transform(changed), transforms, images)


class ImageFolder(ImageDataModule):
    """A folder for each class, below folders ``train``, ``val`` and ``test`` or without them.

    ``val`` may be called ``valid`` or ``validation``. ``test`` is what is tested on; without it
    ``val`` is; without both ``test_fraction`` is drawn. Where there are all three, ``val`` is the
    validation part; otherwise ``validation_fraction`` of the training images is drawn. With
    ``validation_fraction`` 0 everything else is trained on.
    """

    def __init__(self, test_fraction: Fraction, **settings: Any) -> None:
        super().__init__(**settings)
        self.test_fraction = test_fraction

    def title(self) -> str:
        return str(self.root)

    def load_table(self) -> ImageTable:
        if not self.root.is_dir():
            raise DataError(f"data.root: {self.root}: no such folder")
        self.left_out: Counter[str] = Counter()
        parts = {}
        for part, folder in self._part_folders().items():
            parts[part], left_out = list_images(folder)
            self.left_out += left_out
            if part != "all" and not parts[part]:
                raise DataError(f"{folder}: has no folder for each class, with images in it")
        files = [file for part in parts.values() for file in part]
        # macOS and others write an accented letter in two ways.
        names = [unicodedata.normalize("NFC", file.parent.name) for file in files]
        classes = sorted(set(names))
        if len(classes) < 2:
            found = f"only {classes[0]}" if classes else "none"
            raise DataError(f"{self.root}: needs a folder for each of two or more classes; {found}")
        rows, start = {}, 0
        for name, listed in parts.items():
            rows[name] = np.arange(start, start + len(listed))
            start += len(listed)
        return ImageTable(
            decoded(files, self.size, self.cache, root=self.root),
            np.array([classes.index(name) for name in names]),
            [str(file.relative_to(self.root)) for file in files],
            classes,
            self._split(rows),
        )

    def _part_folders(self) -> dict[str, Path]:
        """The folders of ``train``, ``val`` and ``test``, or the one of ``all``."""
        folders = [entry for entry in visible(self.root) if entry.is_dir()]
        names = [folder.name for folder in folders]
        if "train" not in names:
            if given := [name for name in ("val", "test") if name in names]:
                raise DataError(f"{self.root}: has {' and '.join(given)}, but no folder train")
            return {"all": self.root}
        found: dict[str, Path] = {}
        for folder in folders:
            part = "val" if folder.name in ("valid", "validation") else folder.name
            if part not in ("train", "val", "test") or part in found:
                raise DataError(
                    f"{folder}: beside train there may be val (or valid, or validation) and test, "
                    f"one of each; move or rename it"
                )
            found[part] = folder
        return {part: found[part] for part in ("train", "val", "test") if part in found}

    def summary(self) -> str:
        return super().summary() + described(self.left_out, "; left out: ")

    def _split(self, given: dict[str, NDArray[np.int64]]) -> dict[str, NDArray[np.int64]]:
        if "all" in given:
            train, test = hold_out(given["all"], self.test_fraction, self.split_seed)
        else:
            train, test = given["train"], given.get("test", given.get("val"))
            if test is None:
                train, test = hold_out(train, self.test_fraction, self.split_seed)
        both = "val" in given and "test" in given
        if both and self.validation_fraction > 0:
            return {"train": train, "val": given["val"], "test": test}
        if both:
            return {"train": np.concatenate([train, given["val"]]), "test": test}
        return with_validation(train, test, self.validation_fraction, self.split_seed)
