"""Batched augmentation against torchvision's, image by image, and against tensor operations."""

import math
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import RandomResizedCrop, _geometry, functional

from ablab.data.images.batch_transforms import (
    RandomLight,
    RandomWarp,
    affine_maps,
    crop_boxes,
    light,
    warp,
)
from ablab.errors import ConfigError


def pictures(n: int = 6, height: int = 24, width: int = 24) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, 3, height, width), dtype=torch.uint8, generator=generator)


def still(n: int) -> Tensor:
    return torch.zeros(n, dtype=torch.float64)


def whole(n: int, height: int, width: int) -> Tensor:
    return torch.tensor([[0, 0, height, width]] * n, dtype=torch.float64)


# -- what moves pixels ----------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), [(24, 24), (17, 40), (224, 224)])
def test_nothing_to_change_changes_no_bit(height: int, width: int) -> None:
    images = pictures(3, height, width)
    assert torch.equal(
        RandomWarp((1.0, 1.0), (width / height, width / height), flip=0.0)(images), images
    )
    assert torch.equal(RandomLight()(images), images)


@pytest.mark.parametrize(("height", "width"), [(24, 24), (17, 40)])
def test_a_flip_is_that_of_the_tensor_and_of_its_image_alone(height: int, width: int) -> None:
    images = pictures(4, height, width)
    flipped = torch.tensor([True, False, True, False])
    maps = affine_maps(whole(4, height, width), flipped, still(4), height, width)
    expected = torch.where(flipped[:, None, None, None], images.flip(3), images)
    assert torch.equal(warp(images, maps), expected)


def test_a_quarter_turn_is_that_of_the_tensor() -> None:
    images = pictures(2)
    angles = torch.tensor([math.pi / 2, -math.pi / 2], dtype=torch.float64)
    maps = affine_maps(whole(2, 24, 24), still(2).bool(), angles, 24, 24)
    turned = warp(images, maps)
    assert torch.equal(turned[0], images[0].rot90(1, (1, 2)))
    assert torch.equal(turned[1], images[1].rot90(-1, (1, 2)))


def test_a_rotation_keeps_lengths_in_pixels() -> None:
    """Of an image that is no square: steps of a pixel in the result are steps of one in it."""
    angles = torch.tensor([math.pi / 6], dtype=torch.float64)
    maps = affine_maps(whole(1, 20, 40), still(1).bool(), angles, 20, 40)[0]
    step_right = maps[:, 0] * 2 / 40 * torch.tensor([40 / 2, 20 / 2])  # x, y in pixels
    step_down = maps[:, 1] * 2 / 20 * torch.tensor([40 / 2, 20 / 2])
    expected = [[math.cos(math.pi / 6), 0.5], [-0.5, math.cos(math.pi / 6)]]
    torch.testing.assert_close(
        torch.stack([step_right, step_down]), torch.tensor(expected, dtype=torch.float64)
    )


@pytest.mark.parametrize("flipped", [False, True])
def test_a_crop_is_the_resized_crop_of_torchvision(flipped: bool) -> None:
    """Up to the outermost pixels: torchvision repeats the crop's edge where ours goes on."""
    images = torch.rand(3, 3, 40, 56, generator=torch.Generator().manual_seed(0))
    boxes = torch.tensor([[3, 5, 30, 44], [0, 0, 40, 30], [12, 20, 28, 36]], dtype=torch.float64)
    changed = warp(images, affine_maps(boxes, torch.full((3,), flipped), still(3), 40, 56))
    for image, box, new in zip(images, boxes.int().tolist(), changed, strict=True):
        expected = functional.resized_crop(image, *box, size=[40, 56], antialias=True)
        expected = expected.flip(2) if flipped else expected
        inner = (slice(None), slice(2, -2), slice(2, -2))
        torch.testing.assert_close(new[inner], expected[inner], rtol=0, atol=1e-4)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (30, 90), (90, 30)])
@pytest.mark.parametrize("scale", [(0.5, 1.0), (0.08, 1.0), (1.0, 1.0)])
def test_crops_are_those_of_torchvision_given_the_same_draws(
    height: int, width: int, scale: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own code, fed with our draws; wide images run out of tries, so the centre is covered."""
    n, ratio = 200, (3 / 4, 4 / 3)
    generator = torch.Generator().manual_seed(1)
    draws = torch.rand(n, 10, 4, dtype=torch.float64, generator=generator)
    theirs = RandomResizedCrop(64, scale, ratio)
    expected = []
    for of_image in draws.tolist():
        monkeypatch.setattr(_geometry, "torch", scripted(of_image))
        expected.append(list(theirs.make_params([torch.empty(3, height, width)]).values()))
        monkeypatch.undo()
    assert crop_boxes(draws, height, width, scale, ratio).tolist() == expected


def scripted(tries: list[list[float]]) -> SimpleNamespace:
    """As much of torch as ``RandomResizedCrop.make_params`` calls, drawing from ``tries``."""
    place: list[float] = []

    def uniform() -> Iterator[float]:
        for area, shape, top, left in tries:
            place[:] = [left, top]
            yield area
            yield shape

    drawn = uniform()

    def uniform_(low: float, high: float) -> Tensor:
        low, high = float(low), float(high)
        return torch.tensor([low + (high - low) * next(drawn)], dtype=torch.float64)

    return SimpleNamespace(
        empty=lambda _: SimpleNamespace(uniform_=uniform_),
        exp=torch.exp,
        randint=lambda low, high, size: torch.tensor([low + int((high - low) * place.pop())]),
    )


def test_pixels_from_outside_are_mirrored() -> None:
    images = torch.full((8, 3, 16, 16), 200, dtype=torch.uint8)
    assert torch.equal(RandomWarp((0.5, 1.0), degrees=45.0)(images), images)


# -- light ----------------------------------------------------------------------------------------


def test_light_is_that_of_torchvision_where_nothing_is_clipped() -> None:
    images = 0.3 + 0.3 * torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    brightness, contrast = torch.tensor([1.2, 0.8, 1.0, 1.1]), torch.tensor([0.8, 1.2, 1.1, 1.0])
    for image, b, c, new in zip(
        images, brightness, contrast, light(images, brightness, contrast), strict=True
    ):
        expected = functional.adjust_contrast(
            functional.adjust_brightness(image, float(b)), float(c)
        )
        torch.testing.assert_close(new, expected)
    levels = (255 * images).round().to(torch.uint8)
    changed = light(levels, brightness, contrast)
    torch.testing.assert_close(
        changed.float(), 255 * light(levels / 255, brightness, contrast), rtol=0, atol=0.5001
    )


def test_what_is_too_light_stays_white() -> None:
    images = torch.tensor([0, 100, 250], dtype=torch.uint8).view(1, 1, 1, 3).expand(1, 3, 1, 3)
    assert light(images, torch.tensor([1.5]), torch.ones(1))[0, 0, 0].tolist() == [0, 150, 255]
    darkened = light(images, torch.ones(1), torch.tensor([1.9]))[0, 0, 0].tolist()
    grey = 0.9999 * (0 + 100 + 250) / 3  # torchvision's weights of the colours add up to 0.9999
    assert darkened == [0, round(1.9 * 100 - 0.9 * grey), 255]


def test_factors_are_within_their_range_and_fill_it() -> None:
    grey = torch.full((500, 3, 2, 2), 0.5)
    factors = RandomLight(brightness=0.2)(grey)[:, 0, 0, 0] / 0.5
    assert 0.8 <= factors.min() < 0.81
    assert 1.19 < factors.max() <= 1.2
    assert factors.mean() == pytest.approx(1.0, abs=0.02)


# -- what all of them keep ------------------------------------------------------------------------

TRANSFORMS = [RandomWarp((0.5, 1.0), degrees=10.0), RandomLight(0.2, 0.2)]


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_each_image_has_its_own_draws_and_a_seed_repeats_them(transform: torch.nn.Module) -> None:
    images = pictures(1).expand(16, -1, -1, -1)
    torch.manual_seed(3)
    changed = transform(images)
    assert len(torch.unique(changed.flatten(1), dim=0)) == 16
    torch.manual_seed(3)
    assert torch.equal(transform(images), changed)
    assert not torch.equal(transform(images), changed)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_an_image_does_not_depend_on_the_others(transform: torch.nn.Module) -> None:
    images = pictures(4)
    torch.manual_seed(3)
    changed = transform(images)
    torch.manual_seed(3)
    other = transform(torch.cat([images[:1], 255 - images[1:]]))
    assert torch.equal(other[0], changed[0])
    assert not torch.equal(other[1], changed[1])


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16, torch.float64])
def test_the_type_stays(transform: torch.nn.Module, dtype: torch.dtype) -> None:
    images = pictures() if dtype == torch.uint8 else (pictures() / 255).to(dtype)
    before = images.clone()
    changed = transform(images)
    assert (changed.dtype, changed.shape) == (dtype, images.shape)
    assert changed.is_contiguous()
    assert torch.equal(images, before)  # they are a slice of the training part
    if dtype != torch.uint8:
        assert changed.min() >= 0
        assert changed.max() <= 1


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_everything_happens_where_the_images_are(transform: torch.nn.Module) -> None:
    """No tensor of another device takes part: on meta, a mixture is an error as on a GPU."""
    assert transform(pictures().to("meta")).device.type == "meta"
    if torch.cuda.is_available():
        torch.manual_seed(3)
        changed = transform(pictures().cuda()).cpu().float()
        torch.manual_seed(3)
        assert (changed - transform(pictures()).float()).abs().max() <= 1


@pytest.mark.parametrize("settings", [{"scale": (0.5, 1.5)}, {"scale": (1.0, 0.5)}])
def test_a_crop_beyond_the_image_is_refused(settings: dict[str, tuple[float, float]]) -> None:
    with pytest.raises(ConfigError, match="scale: should be two shares that rise"):
        RandomWarp(**settings)
    with pytest.raises(ConfigError, match="ratio: should be two positive numbers that rise"):
        RandomWarp(ratio=(2.0, 1.0))
