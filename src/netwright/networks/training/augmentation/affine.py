"""Rotation, shearing and translation of images.

Each pixel of the output is the nearest pixel of the input, as in AutoAugment and its successors, so
that every dtype keeps its values; what comes from outside the image is zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from netwright.networks.training.augmentation.batch_context import (
    Augmentation,
    BatchContext,
    draw_signed,
)
from netwright.networks.training.augmentation.memory_layout import (
    from_planes,
    pad_with_zeros,
    to_planes,
)


@dataclass(frozen=True)
class Rotate(Augmentation):
    """Random rotation around the centre.

    Args:
        degrees: Largest angle in either direction.
    """

    degrees: float = 15.0

    def __call__(self, images: Tensor, batch: BatchContext) -> Tensor:
        return warp(images, rotation(self.degrees * draw_signed(images, batch)))


@dataclass(frozen=True)
class Shear(Augmentation):
    """Random shear along both axes, around the centre.

    Args:
        factor: Largest shift in either direction, in pixels per pixel of distance from the centre.
    """

    factor: float = 0.2

    def __call__(self, images: Tensor, batch: BatchContext) -> Tensor:
        x, y = (self.factor * draw_signed(images, batch) for _ in range(2))
        return warp(images, shearing(x, y))


@dataclass(frozen=True)
class Translate(Augmentation):
    """Random translation along both axes by whole pixels.

    Args:
        share: Largest distance in either direction, as a share of the image's width and height.
    """

    share: float = 0.125

    def __call__(self, images: Tensor, batch: BatchContext) -> Tensor:
        _, _, h, w = images.shape
        x, y = (self.share * draw_signed(images, batch) for _ in range(2))
        return warp(images, translation(w * x, h * y))


def rotation(degrees: Tensor) -> Tensor:
    """Return the maps (batch, 2, 3) that rotate images counter-clockwise by degrees (batch,)."""
    angle = degrees * (math.pi / 180)
    cos, sin, zeros = angle.cos(), angle.sin(), torch.zeros_like(angle)
    return _matrices(cos, -sin, zeros, sin, cos, zeros)


def shearing(x: Tensor, y: Tensor) -> Tensor:
    """Return the maps (batch, 2, 3) that shear images by x and y (batch,).

    They are in pixels per pixel of distance from the centre.
    """
    ones, zeros = torch.ones_like(x), torch.zeros_like(x)
    return _matrices(ones, x, zeros, y, ones, zeros)


def translation(x: Tensor, y: Tensor) -> Tensor:
    """Return the maps (batch, 2, 3) that move images right by x and down by y (batch,) pixels.

    The distances are rounded to whole pixels.
    """
    ones, zeros = torch.ones_like(x), torch.zeros_like(x)
    return _matrices(ones, zeros, -x.round(), zeros, ones, -y.round())


def _matrices(*coefficients: Tensor) -> Tensor:
    return torch.stack(coefficients, dim=1).view(-1, 2, 3)


def warp(images: Tensor, matrices: Tensor) -> Tensor:
    """Fill each pixel of the images from where an affine map leads in the input.

    Args:
        images: (batch, c, h, w) of any dtype.
        matrices: (batch, 2, 3): factors of x and y and an offset, which give the x and the y in the
            input for those of the output. They are pixels from the centre of the image.

    Returns:
        (batch, c, h, w); pixels from outside of the input are zero.
    """
    planes = pad_with_zeros(to_planes(images), 1)  # coordinates outside end on the border
    n, n_planes, padded_h, padded_w, numbers = planes.shape
    h, w = padded_h - 2, padded_w - 2
    x = torch.arange(w, device=images.device) - (w - 1) / 2
    y = torch.arange(h, device=images.device) - (h - 1) / 2
    padded_pixel = []
    for row, length in ((0, w), (1, h)):  # x, y in the padded input
        of_x, of_y, offset = (matrices[:, row, i, None] for i in range(3))  # (batch, 1)
        of_line = of_y * y + (offset + (length - 1) / 2 + 1.5)  # (batch, h)
        nearest = ((of_x * x)[:, None, :] + of_line[:, :, None]).floor_()  # (batch, h, w)
        padded_pixel.append(nearest.clamp_(0, length + 1).int())
    pixel = padded_pixel[1].mul_(padded_w).add_(padded_pixel[0])
    first = torch.arange(n * n_planes, device=images.device) * (padded_h * padded_w)
    index = pixel.view(n, 1, h * w) + first.view(n, n_planes, 1)
    pixels = planes.view(-1, numbers)
    if numbers == 1:  # numbers are copied faster than lines of one number
        pixels = pixels.squeeze(1)
    return from_planes(pixels.index_select(0, index.flatten()).view(n, n_planes, h, w, numbers))
