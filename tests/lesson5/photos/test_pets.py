"""The Oxford-IIIT pets: their classes and their official test part."""

from pathlib import Path

import numpy as np
from PIL import Image

from lesson5.photos.pets import Pets


def test_pets_keep_their_official_test_part(tmp_path: Path) -> None:
    """Files as the archive lays them: NAME class species breed, from 1."""
    base = tmp_path / "oxford-iiit-pet"
    (base / "annotations").mkdir(parents=True)
    (base / "images").mkdir()
    random = np.random.default_rng(0)
    lines: dict[str, list[str]] = {"trainval": [], "test": []}
    for label, breed in enumerate(["Abyssinian", "american_bulldog"], start=1):
        for i in range(10):
            name = f"{breed}_{i}"
            pixels = random.integers(0, 256, (40, 50, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(base / "images" / f"{name}.jpg")
            lines["trainval" if i < 6 else "test"].append(f"{name} {label} 1 1")
    for part, rows in lines.items():
        (base / "annotations" / f"{part}.txt").write_text("\n".join(rows) + "\n")
    data = Pets(
        root=str(tmp_path),
        size=16,
        cache=str(tmp_path / "cache"),
        augmentation=None,
        validation_fraction=0.25,
    ).configure(split_seed=0)
    data.setup("fit")
    assert {part: len(labels) for part, (_, labels) in data.parts.items()} == {
        "train": 9,
        "val": 3,
        "test": 8,
    }
    assert data.classes == ["Abyssinian", "American Bulldog"]
    assert sorted(data.test_table()["image"]) == sorted(
        f"{line.split()[0]}.jpg" for line in lines["test"]
    )
    assert np.array_equal(np.unique(data.parts["test"][1].numpy()), [0, 1])
