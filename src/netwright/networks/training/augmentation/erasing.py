"""Erasing of regions of images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from netwright.errors import InfeasibleCandidate, expected
from netwright.networks.training.augmentation.batch_context import (
    Augmentation,
    BatchContext,
    draw_integers,
)
from netwright.networks.training.augmentation.memory_layout import from_planes, to_planes


@dataclass(frozen=True)
class Cutout(Augmentation):
    """Replaces a random square with the image's mean (DeVries and Taylor 2017, 1708.04552).

    Args:
        size: Pixels along a side; the square may reach over the image's edge.
    """

    size: int = 4

    def __call__(self, images: Tensor, batch: BatchContext) -> Tensor:
        _, _, h, w = images.shape
        if self.size >= min(h, w):
            raise InfeasibleCandidate(
                expected("cutout size", f"less than the image's {h} x {w}", self.size)
            )
        rows, columns = (_interval(length, self.size, images, batch) for length in (h, w))
        mean = images.float().mean((1, 2, 3)).to(images.dtype)  # (batch,)
        return _fill(images, rows, columns, mean)


def _interval(length: int, size: int, images: Tensor, batch: BatchContext) -> Tensor:
    """Draw (batch, length) masks of `size` neighbours around a random centre."""
    start = draw_integers(length, images, batch)[:, None] - size // 2  # (batch, 1)
    index = torch.arange(length, device=images.device)
    return (index >= start) & (index < start + size)


def _fill(images: Tensor, rows: Tensor, columns: Tensor, fill: Tensor) -> Tensor:
    """Fill the rectangles of the masks (batch, h) and (batch, w) with numbers (batch,)."""
    planes = to_planes(images)
    n, n_planes, h, w, numbers = planes.shape
    lines = planes.view(n, n_planes, h, w * numbers)
    columns = columns.repeat_interleave(numbers, 1)  # (batch, w * numbers)
    fill = fill[:, None, None, None]
    if images.dtype == torch.uint8:  # wraps around and is exact; a sixth of the time of where
        mask = rows.byte()[:, None, :, None] * columns.byte()[:, None, None, :]
        filled = lines + mask * (fill - lines)
    else:
        mask = rows[:, None, :, None] & columns[:, None, None, :]  # (batch, 1, h, w * numbers)
        filled = torch.where(mask, fill, lines)
    return from_planes(filled.view(planes.shape))
