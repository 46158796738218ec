"""Images: decoding, the cache, the splits, augmentation, and files that are no images."""

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn
from torchvision.transforms import v2

from ablab.data.images import files
from ablab.data.images.batch_transforms import BatchTransform, RandomWarp
from ablab.data.images.files import decoded
from ablab.data.images.folder import ImageFolder
from ablab.errors import DataError


def write_image(path: Path, seed: int, height: int = 40, width: int = 50) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def folder(root: Path, parts: list[str], each: int = 10) -> Path:
    for number, part in enumerate(parts):
        for label, name in enumerate(["ants", "bees"]):
            for i in range(each):
                seed = 100 * number + 10 * label + i
                write_image(root / part / name / f"{i}.png", seed)
    return root


def module(root: Path, tmp_path: Path, **changes: object) -> ImageFolder:
    settings: dict[str, object] = {
        "root": str(root),
        "size": 16,
        "cache": str(tmp_path / "cache"),
        "augmentation": None,
        "test_fraction": 0.2,
        "validation_fraction": 0.25,
    }
    data = ImageFolder(**{**settings, **changes})  # type: ignore[arg-type]
    data.configure(batch_size=4, eval_batch_size=8, split_seed=0)
    data.setup("fit")
    return data


def part_sizes(data: ImageFolder) -> dict[str, int]:
    return {part: len(labels) for part, (_, labels) in data.parts.items()}


@pytest.mark.parametrize(
    ("parts", "fraction", "expected"),
    [
        (["."], 0.25, {"train": 12, "val": 4, "test": 4}),
        (["."], 0.0, {"train": 16, "test": 4}),
        (["train", "val"], 0.25, {"train": 15, "val": 5, "test": 20}),
        (["train", "val"], 0.0, {"train": 20, "test": 20}),
        (["train", "test"], 0.25, {"train": 15, "val": 5, "test": 20}),
        (["train", "val", "test"], 0.25, {"train": 20, "val": 20, "test": 20}),
        (["train", "val", "test"], 0.0, {"train": 40, "test": 20}),
    ],
)
def test_the_parts(
    tmp_path: Path, parts: list[str], fraction: float, expected: dict[str, int]
) -> None:
    root = folder(tmp_path / "photos", parts)
    assert part_sizes(module(root, tmp_path, validation_fraction=fraction)) == expected


def test_no_image_is_in_two_parts(tmp_path: Path) -> None:
    data = module(folder(tmp_path / "photos", ["train", "val"]), tmp_path)
    images = torch.cat([images for images, _ in data.parts.values()])
    assert len(torch.unique(images.flatten(1), dim=0)) == 40
    named = data.test_table()
    assert set(named["image"]) == {f"val/{c}/{i}.png" for c in ("ants", "bees") for i in range(10)}
    assert [name.split("/")[1] for name in named["image"]] == named["label"]


def test_images_are_squares_cut_from_the_centre(tmp_path: Path) -> None:
    pixels = np.zeros((20, 60, 3), dtype=np.uint8)
    pixels[:, 20:40] = 200
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    images = decoded([tmp_path / "wide.png"], 20, tmp_path / "cache", root=tmp_path)
    assert images.shape == (1, 3, 20, 20)
    assert (images == 200).all()


# -- images as cameras, scanners and drawing programs write them -----------------------------------

RAMP = np.linspace(0, 255, 16).astype(np.uint8)[None, :].repeat(16, axis=0)
GREY = Image.fromarray(RAMP)
PHOTO = GREY.convert("RGB")


def pixels_of(path: Path) -> np.ndarray:
    """The image as it is given to a model, shape (3, 16, 16)."""
    return decoded([path], 16, path.parent / "cache", root=path.parent)[0].astype(int)


def test_sixteen_bits_of_grey_keep_their_shades(tmp_path: Path) -> None:
    Image.fromarray(RAMP.astype(np.uint16) * 257).save(tmp_path / "x-ray.png")
    assert np.array_equal(pixels_of(tmp_path / "x-ray.png"), [RAMP] * 3)


@pytest.mark.parametrize("name", ["icon.png", "icon.webp"])
def test_a_drawing_that_is_all_transparency_is_on_white(tmp_path: Path, name: str) -> None:
    black = np.zeros((16, 16, 3), np.uint8)
    Image.fromarray(np.dstack([black, RAMP])).save(tmp_path / name, lossless=True)
    assert np.array_equal(pixels_of(tmp_path / name), [255 - RAMP.astype(int)] * 3)


def test_a_palette_may_have_a_transparent_colour(tmp_path: Path) -> None:
    GREY.convert("P").save(tmp_path / "a.gif", transparency=0)
    expected = np.where(RAMP == 0, 255, RAMP)
    assert np.abs(pixels_of(tmp_path / "a.gif") - expected).max() <= 1


@pytest.mark.parametrize("mode", ["CMYK", "1", "L", "LA", "RGBA", "P"])
def test_other_modes_look_as_they_do_elsewhere(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    PHOTO.convert(mode).save(path, quality=100)
    expected = np.asarray(PHOTO.convert(mode).convert("RGB")).transpose(2, 0, 1).astype(int)
    assert np.abs(pixels_of(path) - expected).max() <= 2


def test_a_photo_is_turned_as_the_camera_was(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x112] = 6  # the camera was turned to the right
    PHOTO.save(tmp_path / "a.jpg", exif=exif, quality=100)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "a.jpg")))[..., 0]
    assert np.array_equal(pixels_of(tmp_path / "a.jpg")[0], expected)
    assert expected[0].std() < 2  # what went from left to right goes from top to bottom
    assert expected[:, 0].std() > 50


def test_a_photo_of_several_pictures_is_its_first(tmp_path: Path) -> None:
    PHOTO.save(tmp_path / "a.mpo", save_all=True, append_images=[PHOTO.rotate(90)], quality=100)
    (tmp_path / "a.mpo").rename(tmp_path / "a.jpg")  # as phones call it
    assert np.abs(pixels_of(tmp_path / "a.jpg")[0] - RAMP.astype(int)).max() <= 2


# -- folders as people have them -------------------------------------------------------------------


def test_what_is_left_out_is_counted_by_its_reason(tmp_path: Path) -> None:
    root = folder(tmp_path / "photos", ["train", "val"])
    assert "left out" not in module(root, tmp_path).summary()
    for name in ("a.bmp", "b.bmp", "c.HEIC", "notes", ".hidden"):
        (root / "train" / "ants" / name).touch()
    write_image(root / "train" / "ants" / "more" / "d.png", 0)
    write_image(root / "val" / "e.png", 0)
    summary = module(root, tmp_path).summary()
    assert summary.partition("; left out: ")[2] == (
        "2 named .bmp, 1 named .HEIC, 1 in deeper folders, 1 without an ending, "
        "1 outside of class folders (images are .gif, .jpeg, .jpg, .png, .webp)"
    )


@pytest.mark.parametrize(
    ("file", "told"),
    [
        (None, "is a class folder without an image; add some or remove it$"),
        ("0.tif", r"is a class folder .*; in it: 1 named \.tif \(images are"),
        ("more/0.png", "is a class folder .*; in it: 1 in deeper folders"),
    ],
)
def test_a_class_folder_without_an_image_is_refused(
    tmp_path: Path, file: str | None, told: str
) -> None:
    root = folder(tmp_path / "photos", ["."])
    (root / "wasps").mkdir()
    if file:
        (root / "wasps" / file).parent.mkdir(exist_ok=True)
        (root / "wasps" / file).touch()
    with pytest.raises(DataError, match=rf"photos/wasps: {told}"):
        module(root, tmp_path)


def test_a_part_without_class_folders_is_refused(tmp_path: Path) -> None:
    root = folder(tmp_path / "photos", ["train"])
    write_image(root / "test" / "0.png", 0)
    with pytest.raises(DataError, match="photos/test: has no folder for each class"):
        module(root, tmp_path)


@pytest.mark.parametrize("name", ["valid", "validation"])
def test_the_validation_folder_may_have_another_name(tmp_path: Path, name: str) -> None:
    parts = ["train", "val", "test"]
    usual = module(folder(tmp_path / "a", parts), tmp_path)
    other = module(folder(tmp_path / "b", ["train", name, "test"]), tmp_path)
    for part in parts:
        assert torch.equal(usual.parts[part][0], other.parts[part][0])


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        (["train", "dev"], "dev"),
        (["train", "Test"], "Test"),
        (["train", "val", "valid"], "valid"),
        (["train", "cars"], "cars"),
    ],
)
def test_a_folder_beside_train_that_is_no_part_is_refused(
    tmp_path: Path, parts: list[str], told: str
) -> None:
    with pytest.raises(DataError, match=f"photos/{told}: beside train there may be val"):
        module(folder(tmp_path / "photos", parts), tmp_path)


def test_a_class_may_be_called_valid(tmp_path: Path) -> None:
    for name in ("valid", "invalid"):
        for i in range(10):
            write_image(tmp_path / "photos" / name / f"{i}.png", i)
    assert module(tmp_path / "photos", tmp_path).classes == ["invalid", "valid"]


@pytest.mark.parametrize("place", ["a.png", "train/ants/a.png", "train/wasps", "test"])
@pytest.mark.parametrize("target", ["nowhere", "itself"])
def test_a_link_that_leads_nowhere_is_named(tmp_path: Path, place: str, target: str) -> None:
    link = folder(tmp_path / "photos", ["train", "val"]) / place
    link.symlink_to(link if target == "itself" else tmp_path / "nowhere")
    with pytest.raises(DataError, match=f"photos/{place}: is a link that leads nowhere"):
        module(tmp_path / "photos", tmp_path)


def test_a_link_to_an_image_is_an_image(tmp_path: Path) -> None:
    root = folder(tmp_path / "photos", ["."])
    (root / "ants" / "more.png").symlink_to(root / "ants" / "0.png")
    assert sum(part_sizes(module(root, tmp_path)).values()) == 21


def test_a_pipe_among_the_images_is_named_and_not_waited_for(tmp_path: Path) -> None:
    root = folder(tmp_path / "photos", ["."])
    os.mkfifo(root / "ants" / "a.png")
    with pytest.raises(DataError, match=r"ants/a\.png: is not a regular file"):
        module(root, tmp_path)


def test_a_class_is_one_however_its_accent_is_written(tmp_path: Path) -> None:
    for part, form in (("train", "NFC"), ("val", "NFD")):
        for name in ("café", "thé"):
            for i in range(10):
                write_image(tmp_path / part / unicodedata.normalize(form, name) / f"{i}.png", i)
    data = module(tmp_path, tmp_path / "elsewhere")
    assert data.classes == ["café", "thé"]
    assert data.parts["test"][1].bincount().tolist() == [10, 10]


def test_each_part_has_its_pictures_by_name(tmp_path: Path) -> None:
    root = folder(tmp_path / "photos", ["train", "val"])
    data = module(root, tmp_path)
    for part, (images, labels) in data.parts.items():
        names = data.picture_names(part)
        assert len(set(names)) == len(names) == len(images)
        assert [name.split("/")[1] for name in names] == [data.classes[i] for i in labels]
        (picture,) = data.pictures(part, [3])
        with Image.open(root / names[3]) as image:
            centre = image.resize((20, 16), Image.Resampling.BILINEAR).crop((2, 0, 18, 16))
        assert np.abs(picture.astype(int) - np.asarray(centre)).max() <= 2


def test_images_are_decoded_once(tmp_path: Path) -> None:
    root = folder(tmp_path / "photos", ["train", "val"])
    first = module(root, tmp_path)
    (cached,) = (tmp_path / "cache").glob("*.npy")
    stat = (root / "train" / "ants" / "0.png").stat()
    (root / "train" / "ants" / "0.png").write_bytes(b"x" * stat.st_size)  # no longer an image
    os.utime(root / "train" / "ants" / "0.png", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    again = module(root, tmp_path)
    assert torch.equal(first.parts["train"][0], again.parts["train"][0])
    os.utime(root / "train" / "ants" / "0.png")
    with pytest.raises(DataError, match=r"0\.png: is not an image"):
        module(root, tmp_path)
    cached.write_bytes(cached.read_bytes()[:100])
    with pytest.raises(DataError, match=r"0\.png: is not an image"):
        module(root, tmp_path)


@pytest.mark.parametrize(
    "flip", [v2.RandomHorizontalFlip(), RandomWarp((1.0, 1.0), (1.0, 1.0), flip=0.5)]
)
def test_each_image_is_changed_by_itself_and_by_the_seed_alone(
    tmp_path: Path, flip: nn.Module
) -> None:
    transforms = {"flip": flip, "none": None}
    data = module(folder(tmp_path / "photos", ["."]), tmp_path, augmentation=transforms)
    images, labels = data.parts["train"]
    loader = data.train_dataloader()
    order = loader.order(0)
    changed = torch.cat([batch[0] for batch in loader])
    kept = [torch.equal(new, old) for new, old in zip(changed, images[order], strict=True)]
    flipped = [
        torch.equal(new, old.flip(2)) for new, old in zip(changed, images[order], strict=True)
    ]
    assert all(a != b for a, b in zip(flipped, kept, strict=True))
    assert 0 < sum(flipped) < len(images)
    again = data.train_dataloader()
    torch.manual_seed(99)
    assert torch.equal(torch.cat([batch[0] for batch in again]), changed)
    other = torch.cat([batch[0] for batch in again])  # the next epoch
    flipped_other = [
        torch.equal(new, old.flip(2))
        for new, old in zip(other, images[again.order(1)], strict=True)
    ]
    assert flipped_other != flipped
    resumed = data.train_dataloader()
    resumed.load_state_dict({**resumed.state_dict(), "position": 1})
    assert torch.equal(next(iter(resumed))[0], changed[4:8])
    assert sorted(labels.tolist()) == sorted(torch.cat([b[1] for b in again]).tolist())


class Recorded(nn.Module):
    """Adds one to each pixel, and notes the shape of what it was called with."""

    def __init__(self, calls: list[tuple[int, ...]]) -> None:
        super().__init__()
        self.calls = calls

    def forward(self, images: Tensor) -> Tensor:
        self.calls.append(tuple(images.shape))
        return images + 1


class RecordedBatch(Recorded, BatchTransform):
    pass


def test_transforms_of_batches_and_of_images_take_turns(tmp_path: Path) -> None:
    calls: list[tuple[int, ...]] = []
    kinds = {"a": Recorded, "b": Recorded, "c": RecordedBatch, "d": Recorded}
    data = module(
        folder(tmp_path / "photos", ["."]),
        tmp_path,
        augmentation={name: kind(calls) for name, kind in kinds.items()},
    )
    loader = data.train_dataloader()
    batch = next(iter(loader))[0]
    image, whole = (3, 16, 16), (4, 3, 16, 16)
    assert calls == [*[image, image] * 4, whole, *[image] * 4]
    assert torch.equal(batch, data.parts["train"][0][loader.order(0)[:4]] + 4)


def test_transforms_of_images_draw_for_one_image_after_the_other(tmp_path: Path) -> None:
    crop, light = v2.RandomResizedCrop(16, antialias=True), v2.ColorJitter(0.2, 0.2)
    data = module(
        folder(tmp_path / "photos", ["."]), tmp_path, augmentation={"crop": crop, "light": light}
    )
    loader = data.train_dataloader()
    batch = next(iter(loader))[0]
    torch.manual_seed(hash((0, 0, 0, 0)) % 2**63)
    expected = [light(crop(image)) for image in data.parts["train"][0][loader.order(0)[:4]]]
    assert torch.equal(batch, torch.stack(expected))


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        module(tmp_path / "none", tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="two or more classes; none"):
        module(tmp_path / "empty", tmp_path)
    root = folder(tmp_path / "photos", ["val"])
    with pytest.raises(DataError, match="no folder train"):
        module(root, tmp_path)
    write_image(root / "train" / "ants" / "0.png", 0)
    with pytest.raises(DataError, match="no training image of bees"):
        module(root, tmp_path, validation_fraction=0.0)
    write_image(root / "train" / "bees" / "0.png", 0)
    (root / "train" / "bees" / "1.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut short")
    with pytest.raises(DataError, match=r"bees/1\.jpg: is not an image"):
        module(root, tmp_path)


def test_images_that_memory_cannot_hold_give_the_same_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folder(tmp_path / "photos", ["."])
    warp = {"warp": RandomWarp()}
    held = module(root, tmp_path, augmentation=warp)
    monkeypatch.setattr(files, "_available_memory", lambda: 0)
    read = module(root, tmp_path, augmentation=warp)
    assert "decoded in each epoch" in " ".join(capsys.readouterr().out.split())
    assert read.summary() == held.summary()
    assert read.baselines() == held.baselines()
    for one, other in ((held.train_loader(), read.train_loader()),) * 2:
        for batch, again in zip(one, other, strict=True):
            assert all(map(torch.equal, batch, again))
    assert np.array_equal(held.pictures("test", [0, 1]), read.pictures("test", [0, 1]))
    assert set(read.fingerprints()["train"]) == {"rows", "files"}
    damaged = read.parts["train"].files[0]
    damaged.write_bytes(b"cut short")
    with pytest.raises(DataError, match="is not an image that can be decoded"):
        list(read.train_loader())
