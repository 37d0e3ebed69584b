"""Mirroring and shifting of images by whole pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from netwright.errors import InfeasibleCandidate, expected
from netwright.networks.training.augmentation.batch_context import (
    Augmentation,
    BatchContext,
    draw_integers,
    draw_uniform,
)
from netwright.networks.training.augmentation.memory_layout import (
    from_planes,
    pad_with_zeros,
    to_planes,
)

Axis = Literal["horizontal", "vertical"]
PaddingMode = Literal["reflect", "zeros"]


@dataclass(frozen=True)
class Flip(Augmentation):
    """Random flip: mirrors half of the images.

    Args:
        axis: "horizontal" mirrors left to right, "vertical" top to bottom.
        alternating: Mirror every image in every other epoch, half of them in the first, instead of
            drawing anew in each epoch (Jordan 2024, 2404.00498).
    """

    axis: Axis = "horizontal"
    alternating: bool = False

    def __call__(self, images: Tensor, batch: BatchContext) -> Tensor:
        planes = to_planes(images)
        if self.alternating:
            is_flipped = ((_random_bits(batch.rows, self.axis) + batch.epoch) % 2 == 1).to(
                images.device
            )
        else:
            is_flipped = draw_uniform(images, batch) < 0.5  # (batch,)
        indices = is_flipped.nonzero().squeeze(1)
        dim = 3 if self.axis == "horizontal" else 2
        # a tenth of the time of torch.where
        flipped = planes.clone().index_copy_(0, indices, planes.index_select(0, indices).flip(dim))
        return from_planes(flipped)


_BIT_MIXERS = (0x1E3779B97F4A7C15, 0x3F58476D1CE4E5B9)
"""Odd factors, those of SplitMix64 within the range of int64."""
_AXIS_OFFSETS: dict[Axis, int] = {"horizontal": 1, "vertical": 1 << 32}
"""Added to a row's index, so that it is not mirrored on both axes in the same epochs."""


def _random_bits(rows: Tensor, axis: Axis) -> Tensor:
    """Return a bit (batch,) for each row that depends on its index and the axis alone."""
    mixed = (rows + _AXIS_OFFSETS[axis]) * _BIT_MIXERS[0]  # wraps around
    mixed = (mixed ^ (mixed >> 30)) * _BIT_MIXERS[1]
    return (mixed >> 40) & 1


@dataclass(frozen=True)
class Shift(Augmentation):
    """Random shift: moves each image by up to `padding` pixels in each direction.

    Args:
        padding: Pixels added on each side, of which a window as large as the image is cut out.
        mode: What is added: "reflect" mirrors the image at its border (Jordan 2024, 2404.00498),
            and `padding` must be less than its sides; "zeros" adds zeros.
    """

    padding: int = 2
    mode: PaddingMode = "reflect"

    def __call__(self, images: Tensor, batch: BatchContext) -> Tensor:
        return _shift(images, batch, self.padding, self.mode)


@dataclass(frozen=True)
class Crop(Augmentation):
    """Random crop after zero padding: shifts each image by up to `padding` pixels in each direction.

    The same as `Shift(padding, "zeros")`.

    Args:
        padding: Pixels of zeros on each side.
    """

    padding: int = 2

    def __call__(self, images: Tensor, batch: BatchContext) -> Tensor:
        return _shift(images, batch, self.padding, "zeros")


def _shift(images: Tensor, batch: BatchContext, padding: int, mode: PaddingMode) -> Tensor:
    """Cut a random window out of each padded image."""
    _, _, h, w = images.shape
    if mode == "reflect" and padding >= min(h, w):
        raise InfeasibleCandidate(
            expected("padding by reflection", f"less than the image's {h} x {w}", padding)
        )
    top, left = (draw_integers(2 * padding + 1, images, batch) for _ in range(2))  # (batch,)
    padded = pad_with_zeros(to_planes(images), padding)
    if mode == "reflect" and padding:
        _reflect(padded, padding)
    n, n_planes, padded_h, padded_w, numbers = padded.shape  # padded_h = h + 2 * padding
    # a line of a window is contiguous in memory: copy whole lines, each by where it begins
    line = torch.arange(n * n_planes, device=images.device).view(n, n_planes, 1) * padded_h
    line = line + top[:, None, None] + torch.arange(h, device=images.device)  # (n, planes, h)
    start = (line * padded_w + left[:, None, None]) * numbers
    length = w * numbers
    every_start = padded.as_strided((padded.numel() - length + 1, length), (1, 1))
    windows = every_start.index_select(0, start.flatten())
    return from_planes(windows.view(n, n_planes, h, w, numbers))


def _reflect(padded: Tensor, padding: int) -> None:
    """Fill the border of padded planes by reflection, in place; torch reflects no uint8."""
    for dim in (2, 3):  # columns last: they fill the corners
        inside = padded.shape[dim] - 2 * padding
        before = padded.narrow(dim, padding + 1, padding).flip(dim)
        after = padded.narrow(dim, inside - 1, padding).flip(dim)
        padded.narrow(dim, 0, padding).copy_(before)
        padded.narrow(dim, padding + inside, padding).copy_(after)
