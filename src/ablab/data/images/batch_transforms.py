"""Random changes of a whole batch of images in a few tensor operations, on the images' device.

As in fastai v2 (Howard & Gugger 2020, arXiv 2002.04688, section 3): what moves pixels is one affine
map for each image and one interpolation for the batch; what changes light is one multiply-add. Each
image has draws of its own. They are made on the CPU, by torch's global generator, so that a seed
gives the same changes on every device.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ablab.config.schema import Fraction, NotNegative, Positive
from ablab.errors import ConfigError

_CROP_TRIES = 10  # as torchvision has it
_GREY = (0.2989, 0.587, 0.114)  # of red, green and blue, as in torchvision (ITU-R BT.601)


class BatchTransform(nn.Module):
    """Takes images (B, 3, H, W), uint8 or float in 0..1, and gives as many of the same type.

    What is no BatchTransform is called once for each image (``ablab.data.images.folder``).
    """


class RandomWarp(BatchTransform):
    """Crop of random area and aspect ratio, mirrored and rotated, at the size of the image.

    Crops are drawn as ``torchvision.transforms.v2.RandomResizedCrop`` draws them. They are never
    larger than the image, so bilinear interpolation needs no antialiasing. What a rotation brings
    in from outside the image is mirrored at its edge.

    Args:
        scale: least and largest share of the image's area, at most 1; (1, 1) with ``ratio`` (1, 1)
            for no crop of a square.
        ratio: least and largest width over height, drawn evenly by its logarithm.
        flip: probability that left and right are swapped.
        degrees: largest angle of a rotation about the centre of the crop, either way.
    """

    def __init__(
        self,
        scale: tuple[Positive, Positive] = (0.08, 1.0),
        ratio: tuple[Positive, Positive] = (3 / 4, 4 / 3),
        flip: Fraction = 0.5,
        degrees: NotNegative = 0.0,
    ) -> None:
        super().__init__()
        if not 0 < scale[0] <= scale[1] <= 1:
            raise ConfigError(
                f"RandomWarp: scale: should be two shares that rise, at most 1 (it is {scale})"
            )
        if not 0 < ratio[0] <= ratio[1]:
            raise ConfigError(
                f"RandomWarp: ratio: should be two positive numbers that rise (it is {ratio})"
            )
        self.scale, self.ratio = scale, ratio
        self.flip = flip
        self.degrees = degrees

    def forward(self, images: Tensor) -> Tensor:
        n, _, height, width = images.shape
        draws = torch.rand(n, _CROP_TRIES, 4, dtype=torch.float64)
        boxes = crop_boxes(draws, height, width, self.scale, self.ratio)
        flipped = torch.rand(n, dtype=torch.float64) < self.flip
        angles = math.radians(self.degrees) * (2 * torch.rand(n, dtype=torch.float64) - 1)
        return warp(images, affine_maps(boxes, flipped, angles, height, width))


class RandomLight(BatchTransform):
    """Brightness and contrast as ``torchvision.transforms.v2.ColorJitter`` has them, without its
    rounding and clipping between the two, and so without an order of them.

    Args:
        brightness: pixels are multiplied by a factor from 1 ± this.
        contrast: their distance to the mean grey of the image is multiplied by one from 1 ± this.
    """

    def __init__(self, brightness: Fraction = 0.0, contrast: Fraction = 0.0) -> None:
        super().__init__()
        self.brightness, self.contrast = brightness, contrast

    def forward(self, images: Tensor) -> Tensor:
        around_one = 2 * torch.rand(2, len(images)) - 1
        factors = 1 + torch.tensor([[self.brightness], [self.contrast]]) * around_one
        return light(images, *factors.to(images.device, non_blocking=True))


def crop_boxes(
    draws: Tensor, height: int, width: int, scale: Sequence[float], ratio: Sequence[float]
) -> Tensor:
    """Top, left, height and width of a crop for each image, in whole pixels, (B, 4).

    As RandomResizedCrop: the first of several tries that fits into the image, else the largest crop
    at its centre whose aspect ratio is within ``ratio``.

    Args:
        draws: uniform in 0..1, (B, tries, 4): of area, aspect ratio, top and left.
    """
    area, shape, top, left = draws.unbind(-1)
    area = height * width * (scale[0] + (scale[1] - scale[0]) * area)
    log_ratio = math.log(ratio[0]), math.log(ratio[1])
    shape = torch.exp(log_ratio[0] + (log_ratio[1] - log_ratio[0]) * shape)
    w, h = (area * shape).sqrt().round(), (area / shape).sqrt().round()
    top, left = ((height - h + 1) * top).floor(), ((width - w + 1) * left).floor()
    fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
    first = fits.int().argmax(1)
    tried = torch.stack([top, left, h, w], dim=-1)[torch.arange(len(draws)), first]
    h_centre = min(height, round(width / ratio[0]))
    w_centre = min(width, round(height * ratio[1]))
    centre = [(height - h_centre) // 2, (width - w_centre) // 2, h_centre, w_centre]
    return torch.where(fits.any(1, keepdim=True), tried, tried.new_tensor(centre))


def affine_maps(boxes: Tensor, flipped: Tensor, angles: Tensor, height: int, width: int) -> Tensor:
    """Return the maps from positions in the result to the image, both in -1..1: (B, 2, 3).

    Args:
        boxes: top, left, height, width in pixels of what fills the result, (B, 4).
        flipped: whether left and right are swapped, (B,).
        angles: in radians, (B,); positive ones turn the picture against the clock.
    """
    top, left, h, w = boxes.unbind(-1)
    cos, sin = torch.cos(angles), torch.sin(angles)
    w_signed = torch.where(flipped, -w, w)
    x = torch.stack([cos * w_signed / width, -sin * h / width, (2 * left + w) / width - 1], -1)
    y = torch.stack([sin * w_signed / height, cos * h / height, (2 * top + h) / height - 1], -1)
    return torch.stack([x, y], dim=1)


def warp(images: Tensor, maps: Tensor) -> Tensor:
    """``images`` (B, C, H, W) under the ``maps`` (B, 2, 3) of ``affine_maps``; contiguous."""
    height, width = images.shape[-2:]
    device = images.device
    maps = maps.float().to(device, non_blocking=True)[:, :, None, None]  # (B, 2, 1, 1, 3)
    x = (2 * torch.arange(width, device=device) + 1) / width - 1
    y = ((2 * torch.arange(height, device=device) + 1) / height - 1)[:, None]
    # (B, 2, H, W); torch's affine_grid multiplies matrices for it, which takes longer than the rest
    grid = maps[..., 0] * x + (maps[..., 1] * y + maps[..., 2])
    warped = nn.functional.grid_sample(
        images.float(), grid.movedim(1, -1), padding_mode="reflection", align_corners=False
    )
    return _in_type_of(images, warped)


def light(images: Tensor, brightness: Tensor, contrast: Tensor) -> Tensor:
    """``images`` (B, 3, H, W), each under its factors of ``brightness`` and ``contrast``, (B,)."""
    pixels = images.float()
    grey = pixels.mean((2, 3)) @ pixels.new_tensor(_GREY)
    factor, offset = brightness * contrast, brightness * (1 - contrast) * grey
    changed = torch.addcmul(offset[:, None, None, None], pixels, factor[:, None, None, None])
    return _in_type_of(images, changed.clamp_(0, 255 if images.dtype == torch.uint8 else 1))


def _in_type_of(images: Tensor, pixels: Tensor) -> Tensor:
    return (
        pixels.round_().to(torch.uint8) if images.dtype == torch.uint8 else pixels.type_as(images)
    )
